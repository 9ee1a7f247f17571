"""What a streamed call that broke off still has to bring."""

from __future__ import annotations

from dataclasses import replace

from engines.base import Call, Chunk, Usage


class Remainder:
    """The continuations of `whole` that have not finished; `call` asks for them.

    At first that is the whole call. After `restart` it is what is missing: the first new chunk of each continuation
    says that it begins `anew`, and what came of it before is void.
    """

    def __init__(self, whole: Call) -> None:
        self.call = whole
        self._whole = whole
        self._finished: set[tuple[int, int]] = set()
        self._places: list[tuple[int, int]] | None = None
        self._anew: set[tuple[int, int]] = set()
        self._begun = False

    @property
    def missing(self) -> list[tuple[int, int]]:
        """Prompt and choice of each continuation that has not finished."""
        places = ((p, c) for p in range(len(self._whole.prompts)) for c in range(self._whole.n))
        return [place for place in places if place not in self._finished]

    def restart(self) -> None:
        """Ask for what is missing from its beginning, where something came at all.

        Samples of a seeded call get other seeds than those that finished have: each child of a call with one prompt is
        seeded by its place. Several prompts with a seed are calls of their own already, see SeparateCalls.
        """
        if not self._begun:
            return
        whole, missing = self._whole, self.missing
        self._places, self._anew = missing, set(missing)
        if not self._finished:
            self.call = whole
        elif len(whole.prompts) == 1:
            sampling = dict(whole.sampling)
            if "seed" in sampling:
                sampling["seed"] += whole.n
            self.call = replace(whole, n=len(missing), sampling=sampling)
        else:
            self.call = replace(whole, prompts=tuple(whole.prompts[p] for p, _ in missing), n=1)

    def passed(self, news: Chunk | Usage) -> Chunk | Usage:
        """`news` of `call` as news of the whole call."""
        if isinstance(news, Usage):
            return news if self._places is None else self._usage(news)
        self._begun = True
        if self._places is not None:
            place = self._places[news.prompt * self.call.n + news.choice]
            news = replace(news, prompt=place[0], choice=place[1], anew=place in self._anew)
            self._anew.discard(place)
        if news.finish_reason is not None:
            self._finished.add((news.prompt, news.choice))
        return news

    def _usage(self, usage: Usage) -> Usage:
        """The prompts are counted once; what was generated is what arrived."""
        cached = usage.cached_tokens if len(self._whole.prompts) == 1 else None
        return Usage(sum(map(len, self._whole.prompts)), cached)
