"""Tar shards: samples grouped by name, and patterns of addresses."""

import json

import numpy as np
import pytest
from containers import tarred
from pictures import encoded, picture

from fallow.images import open
from fallow.problems import SourceProblem


def test_webdataset_shards_group_samples(tmp_path):
    for shard in range(3):
        entries = []
        for at in range(4):
            key = f"s{shard}{at}"
            entries += [(f"{key}.png", encoded(picture(seed=10 * shard + at), "PNG"))]
            entries += [(f"{key}.cls", str(at % 2).encode()), (f"{key}.txt", f"nr {at}".encode())]
            entries += [(f"{key}.json", json.dumps({"lens": at / 2, "tags": [at]}).encode())]
        tarred(entries, tmp_path / f"shard-{shard:03d}.tar")
    one = open(tmp_path / "shard-000.tar")
    assert one.column("id").tolist() == ["s00", "s01", "s02", "s03"]
    for source in (tmp_path / "shard-{000..002}.tar", tmp_path / "shard-*.tar", tmp_path):
        images = open(source)
        assert len(images) == 12
        assert images.column("id").tolist()[4] == "s10"
        assert images.column("label").tolist() == [0, 1] * 6
        assert images.column("caption").tolist()[5] == "nr 1"
        assert images.column("lens").tolist()[3] == 1.5
        assert images.column("tags").tolist()[3] == "[3]"
        assert (images[7] == np.asarray(picture(seed=13))).all()
    (tmp_path / "shard-002.tar").rename(tmp_path / "shard-004.tar")
    with pytest.raises(SourceProblem, match=r"shard-002\.tar"):
        open(tmp_path / "shard-{000..002}.tar")
