"""The head first, then everything from there: a method of two stages (an example, after LP-FT)."""

from dataclasses import dataclass

from bench.method import Method, Stage, hyper


@dataclass(frozen=True)
class HeadFirst(Method):
    """A share of the steps trains the head on features that stay as they are; the rest trains every weight."""

    paper = "an example, after LP-FT (Kumar et al., ICLR 2022)"

    share: float = hyper(0.3, low=0, high=1, source="our choice")

    def stages(self, model, recipe, data):
        yield Stage(model, self.loss, recipe.share(self.share), train=(model.head,))
        yield Stage(model, self.loss, recipe.rest(self.share))
