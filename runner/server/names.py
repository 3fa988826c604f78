"""Names for jobs that were given none: an adjective, a noun, and ten characters that make it unique."""

from __future__ import annotations

import secrets

_ALPHABET = "bcdfghjklmnpqrstvwxyz0123456789"
_ADJECTIVES = (
    "amber able airy bold brave brisk calm clear clever cool crisp deft eager early fair fine firm fleet fresh gentle "
    "glad golden good grand green happy honest jolly keen kind light lively lucky mellow merry mild neat nimble noble "
    "patient plain proud quick quiet ready rosy round sharp shiny silent silver simple sleek smart soft sound spry "
    "steady still strong sturdy sunny sure swift tidy true warm wise witty young zesty"
)
_NOUNS = (
    "acorn anchor apple arrow badger barley basin beacon bean berry birch bridge brook canyon cedar cliff clover cloud "
    "comet coral creek crow daisy delta dune eagle ember falcon feather fern field finch fjord forest fox garden glade "
    "grove harbour hare hazel heron hill island ivy jay kettle lake lantern larch leaf lily lion maple marsh meadow "
    "moon moss oak olive orchard otter owl path pear pebble pine plum pond poppy quarry quill raven reed ridge river "
    "robin rock sail sparrow spring star stone stream swan thistle tide tree valley violet wave willow wind wren"
)


def new_name() -> str:
    """A name such as `quiet_otter_h3k9x0wq2m`."""
    tail = "".join(secrets.choice(_ALPHABET) for _ in range(10))
    return f"{secrets.choice(_ADJECTIVES.split())}_{secrets.choice(_NOUNS.split())}_{tail}"
