"""Every config.pbtxt, every variant and every ensemble edge against the contract."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from qafm.contract import ENSEMBLES, GRAPHS, MAX_BATCH_SIZE, MODELS, REQUIRED, Model, Tensor
from qafm.images import decode

TEMPLATE = Path(__file__).resolve().parents[2] / "model_repository"


def read(path):
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def signature(tensors):
    return [(t.name, model_config_pb2.DataType.Name(t.data_type), tuple(t.dims)) for t in tensors]


def contracted(tensors):
    return [(t.name, f"TYPE_{t.dtype}", t.dims) for t in tensors]


CONFIGS = {
    **{name: TEMPLATE / name / "config.pbtxt" for name in REQUIRED},
    **{f"{name}, tensorrt": TEMPLATE / name / "configs" / "tensorrt.pbtxt" for name in GRAPHS},
}


def test_template_holds_the_contracts_models_and_variants_and_nothing_else():
    assert sorted(path.name for path in TEMPLATE.iterdir()) == sorted(REQUIRED)
    assert sorted(TEMPLATE.glob("*/*.pbtxt")) == sorted(TEMPLATE / name / "config.pbtxt" for name in REQUIRED)
    assert sorted(TEMPLATE.glob("*/configs/*")) == sorted(
        TEMPLATE / name / "configs" / "tensorrt.pbtxt" for name in GRAPHS
    )


@pytest.mark.parametrize("case", CONFIGS)
def test_config_is_the_contracts(case):
    model = MODELS[case.split(",")[0]]
    config = read(CONFIGS[case])
    assert config.name == model.name
    assert config.max_batch_size == MAX_BATCH_SIZE
    assert signature(config.input) == contracted(model.inputs)
    assert signature(config.output) == contracted(model.outputs)
    if model.name in ENSEMBLES:
        assert (config.platform, config.backend) == ("ensemble", "")
    else:
        assert (config.platform, config.backend) == ("", "tensorrt" if "tensorrt" in case else model.backend)


@pytest.mark.parametrize("name", REQUIRED)
def test_every_model_has_a_committed_version_folder(name):
    kept = {"python": "model.py"}.get(MODELS[name].backend, ".gitkeep")
    assert (TEMPLATE / name / "1" / kept).is_file()


def edges(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    """Tensors of an ensemble by the names it gives them: those produced, those consumed; and its steps."""
    ensemble, config = MODELS[name], read(TEMPLATE / name / "config.pbtxt")
    produced = {tensor.name: tensor for tensor in ensemble.inputs}
    consumed: dict[str, Tensor] = {}
    for step in config.ensemble_scheduling.step:
        model: Model = MODELS[step.model_name]
        inputs = {tensor.name: tensor for tensor in model.inputs}
        outputs = {tensor.name: tensor for tensor in model.outputs}
        assert step.input_map.keys() == inputs.keys(), f"{step.model_name}: every input is fed"
        for theirs, ours in step.output_map.items():
            assert ours not in produced, f"{ours} has two sources"
            produced[ours] = outputs[theirs]
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
    for output in MODELS[name].outputs:
        source = produced[output.name]
        assert (source.dtype, source.dims) == (output.dtype, output.dims), output.name


@pytest.mark.parametrize("name", ENSEMBLES)
def test_no_ensemble_output_feeds_a_step(name):
    _, consumed, _ = edges(name)
    assert not consumed.keys() & {tensor.name for tensor in MODELS[name].outputs}


def test_fixed_alpha_runs_no_views_and_no_iqa_and_lists_fusion_first():
    produced, _, steps = edges("qafm_fixed_alpha")
    assert steps[0] == "fusion"
    assert sorted(steps) == ["apan", "apn", "fusion", "views"]
    assert "VIEWS" not in {tensor.name for tensor in produced.values()}


@pytest.mark.parametrize("name", GRAPHS)
def test_idle_threads_do_not_spin(name):
    assert read(TEMPLATE / name / "config.pbtxt").parameters["session.intra_op.allow_spinning"].string_value == "0"


@pytest.mark.parametrize("case", [case for case in CONFIGS if case not in ENSEMBLES])
def test_every_model_is_warmed_up_with_all_its_inputs(case):
    (warmup,) = read(CONFIGS[case]).model_warmup
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


@pytest.mark.parametrize("case", [case for case in CONFIGS if case.split(",")[0] in ("views", "apn", "apan")])
def test_requests_are_batched_without_waiting_for_more(case):
    config = read(CONFIGS[case])
    assert config.HasField("dynamic_batching")
    assert config.dynamic_batching.max_queue_delay_microseconds == 0


@pytest.mark.parametrize("case", [case for case in CONFIGS if case.startswith("iqa")])
def test_views_of_several_images_are_not_joined(case):
    """In float32 eight images at once need 3 GB."""
    assert not read(CONFIGS[case]).HasField("dynamic_batching")


@pytest.mark.parametrize("case", [case for case in CONFIGS if case not in ENSEMBLES])
def test_only_the_first_step_refuses_requests(case):
    """Where a later step of an ensemble does, Triton before 26.05 crashes or never answers (core#466, core#483)."""
    bound = read(CONFIGS[case]).dynamic_batching.default_queue_policy.max_queue_size
    assert (bound > 0) == (case == "views")


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_ensemble_is_made_of_the_parts_that_its_fingerprint_is_of(name):
    steps = [step.model_name for step in read(CONFIGS[name]).ensemble_scheduling.step]
    assert sorted(steps) == sorted(MODELS[name].parts)
