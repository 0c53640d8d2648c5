import pytest
from vision_trees import add_images, add_table

from cxrlabel.errors import InputError
from cxrvision.data.datasets import detect
from cxrvision.data.datasets.covid import index

HEAD = "patientid,offset,sex,age,finding,view,modality,date,location,folder,filename"


@pytest.fixture
def tree(tmp_path):
    add_table(
        tmp_path, "metadata.csv", HEAD,
        '2,0,M,65,Pneumonia/Viral/COVID-19,PA,X-ray,"January 22, 2020","A, B",images,a.jpg',
        '2,0,M,65,Pneumonia/Viral/COVID-19,L,X-ray,"January 22, 2020","A, B",images,b.jpg',
        "2,5,M,65,todo,AP Supine,X-ray,2020,,images,c.jpg",
        "3,,F,,No Finding,AP,X-ray,,,images,d.png",
        "3,,F,,No Finding,Axial,CT,,,images,slice.png",
        "4,,F,,Pneumonia,PA,X-ray,,,images,gone.png",
    )  # fmt: skip
    add_images(tmp_path, *(f"images/{name}" for name in ("a.jpg", "b.jpg", "c.jpg", "d.png")))
    add_images(tmp_path, "images/slice.png", "images/stray.png")
    return tmp_path


def test_study_is_a_patient_at_an_offset(tree):
    assert detect(tree) == "covid"

    images = index(tree).images

    assert list(images["study_id"]) == ["2_0", "2_0", "2_5", "3_na"]
    assert list(images["view"]) == ["frontal", "lateral", "frontal", "frontal"]
    assert list(images["view_position"]) == ["PA", "L", "AP", "AP"]


def test_diagnosis_says_what_is_there_and_not_what_is_absent(tree):
    labels = index(tree).labels

    assert labels.loc["2_0"].dropna().to_dict() == {"No Finding": 0.0, "Pneumonia": 1.0}
    assert labels.loc["2_5"].isna().all()
    assert labels.loc["3_na"].dropna().to_dict() == {"No Finding": 1.0}


def test_oddities_are_counted(tree):
    notes = "\n".join(index(tree).notes)

    assert "1 rows are CT; left out" in notes
    assert "1 of 5 rows of metadata.csv name files that are not here: gone.png" in notes
    assert "1 image files have no row in metadata.csv: images/stray.png" in notes
    assert "2 label names are no finding of ours: COVID-19 (2), Viral (2)" in notes


def test_folder_without_the_table_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no metadata.csv here with columns patientid"):
        index(tmp_path)
