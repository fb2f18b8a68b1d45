import pytest

from torchbake.errors import UserError
from torchbake.models import create_model
from torchbake.training.recipe_files import dump_recipe, load_recipe


def load(*overrides, name="test_resnet"):
    return load_recipe("digits/bake", [("model", name), *overrides])


def test_timm_gets_what_stands_beside_the_other_keys(tmp_path):
    recipe = load(("model.drop_path_rate", "0.25"), name="test_vit")
    assert recipe.model.arguments == {"drop_path_rate": 0.25}
    (tmp_path / "again.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(str(tmp_path / "again.yaml")) == recipe
    more = load_recipe(str(tmp_path / "again.yaml"), [("model.qkv_bias", "false")])
    assert more.model.arguments == {"drop_path_rate": 0.25, "qkv_bias": False}
    network = create_model("test_vit", 3, image_size=160, arguments=more.model.arguments).network
    assert network.blocks[-1].drop_path1.drop_prob == 0.25
    assert network.blocks[0].attn.qkv.bias is None


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        (
            "test_resnet",
            "pretraned",
            r"^model.pretraned: unknown key, .*mean 'model.pretrained'\?$",
        ),
        ("test_vit", "drop_path_rat", "mean 'model.drop_path_rate'"),
        ("resnet20", "drop_path_rate", "^model.drop_path_rate: unknown key"),
        ("test_resnet", "num_classes", "^model.num_classes: follows from the data"),
    ],
)
def test_what_a_network_does_not_take_is_refused_in_one_line(name, key, message):
    with pytest.raises(UserError, match=message) as caught:
        load((f"model.{key}", "1"), name=name)
    assert "\n" not in str(caught.value)


def test_a_network_of_ones_own_takes_its_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_with_width.py").write_text(
        "from torch import nn\n"
        "def make(num_classes, width=4):\n"
        "    ends = nn.Linear(12, width), nn.Linear(width, num_classes)\n"
        "    return nn.Sequential(nn.Flatten(), *ends)\n"
    )
    recipe = load(("model.width", "6"), ("model.classifier", "2"), name="nets_with_width:make")
    settings = {"image_size": 2, "classifier": "2", "arguments": recipe.model.arguments}
    assert create_model(recipe.model.name, 3, **settings).network[2].in_features == 6
    with pytest.raises(UserError, match=r"^model.wdth: unknown key.*mean 'model.width'\?$"):
        load(("model.wdth", "6"), name="nets_with_width:make")


def test_a_value_that_the_network_refuses_is_one_line():
    with pytest.raises(UserError, match=r"^model 'test_resnet' cannot be made: ") as caught:
        create_model("test_resnet", 3, arguments={"output_stride": 7})
    assert "\n" not in str(caught.value)
