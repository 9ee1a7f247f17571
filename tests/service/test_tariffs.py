from budgets.hardware import HARDWARE
from budgets.latency import Factors
from budgets.models import ModelShape
from service.errors import undoable
from service.settings import ModelConfig
from service.tariffs import Tariffs
from tests.service.priced import NUMBERS


class Shapes:
    """The shape of any model, once it is `there`."""

    there = False

    async def of(self, config, param):
        if not self.there:
            raise undoable("shape_unavailable", "It is not there yet.", param)
        return ModelShape(**NUMBERS)


class Kept:
    async def factors(self, model):
        return Factors()


async def test_a_tariff_that_was_unknown_is_known_once_it_was_found():
    shapes = Shapes()
    tariffs = Tariffs(shapes, Kept())
    model = ModelConfig(name="m", urls=["http://127.0.0.1:9"], hardware=next(iter(HARDWARE)))
    assert await tariffs.known(model) is None
    shapes.there = True
    assert await tariffs.known(model) is None, "it is looked for again only where it is asked for by name"
    found = await tariffs.of(model)
    assert await tariffs.known(model) == found
