"""Every config.pbtxt, every variant and every ensemble edge against the contract."""

import shutil
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.variants import (
    leave_out_attributes,
    leave_out_variant,
    openvino_variant,
    read_config,
    tensorrt_variant,
    write_variants,
)
from qafm.contract import (
    ATTRIBUTES,
    GRAPHS,
    MAX_BATCH_SIZE,
    MODELS,
    SEMANTIC,
    VISUAL_FUSION,
    Model,
    Tensor,
)
from qafm.images import decode
from tests.support.served import ENSEMBLES, OPTIONAL, served_outputs

TEMPLATE = Path(__file__).resolve().parents[2] / "model_repository"


def signature(tensors):
    return [(t.name, model_config_pb2.DataType.Name(t.data_type), tuple(t.dims)) for t in tensors]


def contracted(tensors):
    return [(t.name, f"TYPE_{t.dtype}", t.dims) for t in tensors]


CONFIGS = {
    **{name: read_config(TEMPLATE / name / "config.pbtxt") for name in MODELS},
    **{f"{name}, tensorrt": tensorrt_variant(read_config(TEMPLATE / name / "config.pbtxt")) for name in GRAPHS},
}


def test_template_holds_the_contracts_models_and_nothing_else():
    folders = [path.name for path in TEMPLATE.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert sorted(folders) == sorted(MODELS)
    assert [path.name for path in TEMPLATE.iterdir() if path.is_file()] == ["__init__.py"]
    assert sorted(TEMPLATE.rglob("*.pbtxt")) == sorted(TEMPLATE / name / "config.pbtxt" for name in MODELS)


@pytest.mark.parametrize("case", CONFIGS)
def test_config_is_the_contracts(case):
    model = MODELS[case.split(",")[0]]
    config = CONFIGS[case]
    assert config.name == model.name
    assert config.max_batch_size == MAX_BATCH_SIZE
    assert signature(config.input) == contracted((*model.inputs, *model.optional_inputs))
    assert [tensor.name for tensor in config.input if tensor.optional] == [t.name for t in model.optional_inputs]
    assert signature(config.output) == contracted(served_outputs(model.name))
    if model.name in ENSEMBLES:
        assert (config.platform, config.backend) == ("ensemble", "")
    else:
        assert (config.platform, config.backend) == ("", "tensorrt" if "tensorrt" in case else model.backend)


@pytest.mark.parametrize("name", OPTIONAL)
def test_what_the_template_serves_beyond_the_contract_is_optional_there(name):
    assert set(OPTIONAL[name]) <= set(MODELS[name].optional_outputs)


@pytest.fixture(scope="module")
def without_attributes(tmp_path_factory):
    """The configurations of a repository without APAN, by model."""
    repository = tmp_path_factory.mktemp("without") / "repository"
    shutil.copytree(TEMPLATE, repository)
    leave_out_attributes(repository)
    return {path.parent.name: read_config(path) for path in repository.glob("*/config.pbtxt")}


def test_without_attributes_the_rest_is_the_contracts(without_attributes):
    assert without_attributes.keys() == MODELS.keys() - {"apan"}
    for name, config in without_attributes.items():
        model = VISUAL_FUSION if name == "fusion" else MODELS[name]
        outputs = [tensor for tensor in served_outputs(name) if tensor not in (ATTRIBUTES, SEMANTIC)]
        outputs = list(model.outputs) if name == "fusion" else outputs
        assert signature(config.input) == contracted((*model.inputs, *model.optional_inputs))
        assert signature(config.output) == contracted(outputs)
        warm = [name for warmup in config.model_warmup for name in warmup.inputs]
        assert not warm or set(warm) <= {tensor.name for tensor in config.input}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_without_attributes_every_tensor_of_an_ensemble_has_one_source_and_outputs_feed_nothing(
    without_attributes, name
):
    config = without_attributes[name]
    steps = config.ensemble_scheduling.step
    made = [target for step in steps for target in step.output_map.values()]
    assert len(made) == len(set(made)) and {tensor.name for tensor in config.output} <= set(made)
    read = {source for step in steps for source in step.input_map.values()}
    assert read <= {*made, *(tensor.name for tensor in config.input)}
    assert read.isdisjoint(tensor.name for tensor in config.output)
    for step in steps:
        inputs = {tensor.name for tensor in without_attributes[step.model_name].input}
        assert set(step.input_map) <= inputs and (step.model_name == "views" or set(step.input_map) == inputs)
        assert set(step.output_map) <= {tensor.name for tensor in without_attributes[step.model_name].output}


APN_ON_TENSORRT = """
name: "apn"
backend: "tensorrt"
max_batch_size: 8
input [ { name: "CROP", data_type: TYPE_UINT8, dims: [ 384, 128, 3 ] } ]
output [ { name: "VISUAL", data_type: TYPE_FP32, dims: [ 1024 ] } ]
instance_group [ { count: 1, kind: KIND_GPU } ]
dynamic_batching { }
model_warmup [
  {
    name: "one"
    batch_size: 1
    inputs { key: "CROP" value { data_type: TYPE_UINT8, dims: [ 384, 128, 3 ], zero_data: true } }
  }
]
"""


def test_the_variant_for_tensorrt_by_hand():
    assert CONFIGS["apn, tensorrt"] == text_format.Parse(APN_ON_TENSORRT, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("name", GRAPHS)
def test_the_variant_for_tensorrt_differs_in_what_runs_it_alone(name):
    own, variant = (read_config(TEMPLATE / name / "config.pbtxt") for _ in range(2))
    variant.CopyFrom(tensorrt_variant(own))
    assert own.backend == "onnxruntime" and own.parameters, "the template's own configuration is not touched"
    assert not variant.parameters, "they are ONNX Runtime's"
    (group,) = variant.instance_group
    assert (group.count, group.kind) == (1, model_config_pb2.ModelInstanceGroup.KIND_GPU)
    for config in (own, variant):
        for field in ("backend", "instance_group", "parameters"):
            config.ClearField(field)
    assert variant == own


@pytest.mark.parametrize("name", GRAPHS)
def test_the_variant_for_openvino_differs_in_its_accelerator_and_needs_no_gpu(name):
    own = read_config(TEMPLATE / name / "config.pbtxt")
    variant = openvino_variant(own)
    (accelerator,) = variant.optimization.execution_accelerators.cpu_execution_accelerator
    assert accelerator.name == "openvino" and not own.HasField("optimization")
    assert all(group.kind == model_config_pb2.ModelInstanceGroup.KIND_CPU for group in variant.instance_group)
    assert [group.count for group in variant.instance_group] == [group.count for group in own.instance_group]
    for config in (own, variant):
        for field in ("optimization", "instance_group"):
            config.ClearField(field)
    assert variant == own


def test_variants_are_written_beside_the_networks_alone(tmp_path):
    for name in MODELS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").write_text((TEMPLATE / name / "config.pbtxt").read_text())
    write_variants(tmp_path)
    written = {path.parent.parent.name: read_config(path) for path in tmp_path.glob("*/configs/tensorrt.pbtxt")}
    assert written == {name: CONFIGS[f"{name}, tensorrt"] for name in GRAPHS}
    assert {path.parent.parent.name for path in tmp_path.glob("*/configs/openvino.pbtxt")} == set(GRAPHS)
    leave_out_variant(tmp_path, "openvino")
    assert {path.name for path in tmp_path.glob("*/configs/*")} == {"tensorrt.pbtxt"}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_committed_version_folder(name):
    kept = {"python": "model.py"}.get(MODELS[name].backend, ".gitkeep")
    assert (TEMPLATE / name / "1" / kept).is_file()


def edges(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    """Tensors of an ensemble by the names it gives them: those produced, those consumed; and its steps."""
    ensemble, config = MODELS[name], CONFIGS[name]
    produced = {tensor.name: tensor for tensor in ensemble.inputs}
    consumed: dict[str, Tensor] = {}
    for step in config.ensemble_scheduling.step:
        model: Model = MODELS[step.model_name]
        inputs = {tensor.name: tensor for tensor in (*model.inputs, *model.optional_inputs)}
        given = {tensor.name: tensor for tensor in served_outputs(model.name)}
        fed, needed = step.input_map.keys(), {tensor.name for tensor in model.inputs}
        assert needed <= fed <= inputs.keys(), f"{step.model_name}: every input is fed"
        for theirs, ours in step.output_map.items():
            assert ours not in produced, f"{ours} has two sources"
            produced[ours] = given[theirs]
        for theirs, ours in step.input_map.items():
            previous = consumed.setdefault(ours, inputs[theirs])
            assert (previous.dtype, previous.dims) == (inputs[theirs].dtype, inputs[theirs].dims)
    return produced, consumed, [step.model_name for step in config.ensemble_scheduling.step]


@pytest.mark.parametrize("name", ENSEMBLES)
def test_ensemble_edges_join_tensors_of_one_type_and_size(name):
    produced, consumed, _ = edges(name)
    for tensor, sink in consumed.items():
        source = produced[tensor]
        assert (source.dtype, source.dims) == (sink.dtype, sink.dims), tensor
    for output in served_outputs(name):
        source = produced[output.name]
        assert (source.dtype, source.dims) == (output.dtype, output.dims), output.name


@pytest.mark.parametrize("name", ENSEMBLES)
def test_no_ensemble_output_feeds_a_step(name):
    _, consumed, _ = edges(name)
    assert not consumed.keys() & {tensor.name for tensor in served_outputs(name)}


def test_the_fast_one_makes_no_views_and_runs_no_iqa():
    produced, _, steps = edges("qafm_fast")
    assert sorted(steps) == ["apan", "apn", "fusion", "quality", "views"]
    assert "VIEWS" not in {tensor.name for tensor in produced.values()}


def test_fixed_alpha_runs_no_views_and_no_iqa_and_lists_fusion_first():
    produced, _, steps = edges("qafm_fixed_alpha")
    assert steps[0] == "fusion"
    assert sorted(steps) == ["apan", "apn", "fusion", "views"]
    assert "VIEWS" not in {tensor.name for tensor in produced.values()}


@pytest.mark.parametrize("name", GRAPHS)
def test_idle_threads_do_not_spin(name):
    assert CONFIGS[name].parameters["session.intra_op.allow_spinning"].string_value == "0"


@pytest.mark.parametrize("case", [case for case in CONFIGS if case not in ENSEMBLES])
def test_every_model_is_warmed_up_with_all_its_inputs(case):
    (warmup,) = CONFIGS[case].model_warmup
    assert warmup.batch_size == 1
    expected = {tensor.name: (f"TYPE_{tensor.dtype}", tensor.dims) for tensor in MODELS[case.split(",")[0]].inputs}
    found = {
        name: (model_config_pb2.DataType.Name(value.data_type), tuple(value.dims))
        for name, value in warmup.inputs.items()
    }
    assert found == expected


def test_the_warm_up_picture_has_market_1501s_size():
    content = (TEMPLATE / "views" / "warmup" / "grey").read_bytes()
    assert int.from_bytes(content[:4], "little") == len(content) - 4
    assert decode(content[4:]).shape == (128, 64, 3)


@pytest.mark.parametrize(
    "case", [case for case in CONFIGS if case.split(",")[0] in ("views", "apn", "apan", "quality")]
)
def test_requests_are_batched_without_waiting_for_more(case):
    config = CONFIGS[case]
    assert config.HasField("dynamic_batching")
    assert config.dynamic_batching.max_queue_delay_microseconds == 0


@pytest.mark.parametrize("case", [case for case in CONFIGS if case.startswith("iqa")])
def test_views_of_several_images_are_not_joined(case):
    """In float32 eight images at once need 3 GB."""
    assert not CONFIGS[case].HasField("dynamic_batching")


@pytest.mark.parametrize("case", [case for case in CONFIGS if case not in ENSEMBLES])
def test_only_the_first_step_refuses_requests(case):
    """Where a later step of an ensemble does, Triton before 26.05 crashes or never answers (core#466, core#483)."""
    bound = CONFIGS[case].dynamic_batching.default_queue_policy.max_queue_size
    assert (bound > 0) == (case == "views")


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_ensemble_is_made_of_the_parts_that_its_fingerprint_is_of(name):
    steps = [step.model_name for step in CONFIGS[name].ensemble_scheduling.step]
    assert sorted(steps) == sorted(MODELS[name].parts)
