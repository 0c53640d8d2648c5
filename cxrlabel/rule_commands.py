"""The commands `cxr rules`: check the rules, or see what a finding matches."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrlabel.terminal import LangOption, RulesOption, console, errors_as_lines, note

rules_app = typer.Typer(
    no_args_is_help=True, help="Check the rules, or see what a finding matches."
)


@rules_app.command("check")
def rules_check(
    *,
    lang: Annotated[
        str,
        typer.Option(
            metavar="CODE", help="Only this language; by default all, with --rules English."
        ),
    ] = "",
    rules: RulesOption = None,
) -> None:
    """Validate the rules and run every example."""
    from cxrlabel.startup import import_spacy_alone

    with errors_as_lines():
        import_spacy_alone()
        from cxrlabel.rulecheck import check_languages

        checks = check_languages([*(rules or [])], lang=lang)
        for check in checks:
            for failure in check.failures:
                example = failure.example
                note(
                    f"{example.place}: {example.finding}: expected {example.expect}, "
                    f"found {failure.found}: {example.text!r} ({failure.because})"
                )
            counts = (
                f"{check.findings} findings, {check.rules} rules, "
                f"{check.examples} {check.lang} examples"
            )
            if check.failures:
                note(f"{counts}: {len(check.failures)} examples failed")
            else:
                typer.echo(f"{counts}: all as expected")
        if any(check.failures for check in checks):
            raise typer.Exit(1)


@rules_app.command("show")
def rules_show(
    finding: Annotated[
        str,
        typer.Argument(metavar="FINDING", help="A finding's name or alias.", show_default=False),
    ],
    *,
    lang: LangOption = "en",
    rules: RulesOption = None,
) -> None:
    """Show what a finding's rules match, and its examples."""
    from cxrlabel.startup import import_spacy_alone

    with errors_as_lines():
        import_spacy_alone()
        from cxrlabel.rulecheck import show_finding

        console().print(show_finding(finding, [*(rules or [])], lang=lang))


@rules_app.command("options")
def rules_options(*, rules: RulesOption = None) -> None:
    """List the conventions on which readings differ, with their defaults."""
    from cxrlabel.options import load_options

    with errors_as_lines():
        for option in load_options([*(rules or [])]).values():
            choices = " | ".join(option.choices)
            typer.echo(f"{option.name}={option.default}  ({choices})\n    {option.about}")
