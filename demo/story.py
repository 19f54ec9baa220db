"""Tacit's story, told by itself: `make demo`, or `python -m demo.story`.

A real service is started in an empty folder and everything happens over HTTP through `tacit.Client`. Whatever is printed with a
tick was checked by this program; the first thing that is not so ends it with exit code 1.
"""

import shutil
import sys

from demo import data_chapters, line_chapters, proof_chapters, question_chapters, tally_chapters
from demo.running import ROOT, DidNotStart, Service
from demo.stage import Stage
from demo.telling import DoesNotHold, Teller

FOLDER = ROOT / "demo-run"


def tell(stage: Stage) -> None:
    """Tell the whole story."""
    data_chapters.start(stage)
    data_chapters.declare(stage)
    data_chapters.upload(stage)
    data_chapters.search_the_database(stage)
    data_chapters.open_sealed_names(stage)
    data_chapters.serve_a_microservice(stage)
    question_chapters.price_and_ask(stage)
    question_chapters.ask_again(stage)
    question_chapters.ask_about_patients(stage)
    question_chapters.run_out(stage)
    proof_chapters.verify_offline(stage)
    tally_chapters.add_up(stage)
    proof_chapters.kill_and_return(stage)
    line_chapters.send_over_a_bad_line(stage)
    line_chapters.leave_rows_out(stage)
    line_chapters.be_told(stage)


def main() -> int:
    """Run in an empty folder; return the exit code."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(mode=0o700)
    teller = Teller()
    teller.console.print("[bold]Tacit[/]: learn from data about people without being told anybody's.")
    with Service(FOLDER, webhooks="loopback") as service:
        try:
            tell(Stage(teller, service))
        except DoesNotHold as claim:
            teller.console.print(f"\nThe story ends here: not so: {claim}", markup=False, style="bold red")
            return 1
        except DidNotStart as reason:
            teller.console.print(f"\nThe service did not start:\n{reason}", markup=False, style="bold red")
            return 1
    teller.console.print(f"\n[bold]All {teller.checked} claims held, in {teller.seconds:.0f} s.[/] The files are in demo-run/.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
