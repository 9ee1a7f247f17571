import asyncio

from tests.human_eval import Task, all_tasks, nearly_right
from tests.verifiers.scoring import response
from verifiers.sandbox import Sandbox
from verifiers.unit_tests import UnitTests


async def test_every_solution_of_human_eval_passes_and_broken_ones_do_not() -> None:
    sandbox = Sandbox()

    async def scores(task: Task) -> tuple[float | None, ...]:
        asked = [{"role": "user", "content": task["prompt"]}]
        contents = [task["canonical_solution"], nearly_right(task), "    return None\n"]
        verifier = UnitTests(task["test"], task["entry_point"], sandbox)
        return (await verifier.score(asked, [*map(response, contents)])).scores

    tasks = all_tasks()
    found = await asyncio.gather(*map(scores, tasks))
    wrong = [
        task["task_id"]
        for task, (right, *broken) in zip(tasks, found, strict=True)
        if right != 1.0 or any(score is None or score >= 0.5 for score in broken)
    ]
    assert wrong == []
