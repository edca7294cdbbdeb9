from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client import Description, ReidClient
from client.transport import Tls
from qafm.contract import ALPHA, FUSION, MODELS, QAFM, QAFM_FAST, QAFM_FIXED_ALPHA, SCATTER, UTILITY, Tensor
from qafm.errors import ContractMismatch, InvalidImage, InvalidSettings, ModelChanged, RequestFailed, ServerUnreachable
from qafm.images import MAX_BYTES


def run(work):
    return asyncio.run(asyncio.wait_for(work, timeout=30))


async def described(url, images, **options):
    async with ReidClient(url) as client:
        return [result async for _, result in client.describe_many(images, **options)]


async def connected(url, **options):
    async with ReidClient(url, **options) as client:
        return client.manifest


def place(description: Description) -> int:
    return int(description.descriptor.argmax())


# --- connecting
# ------------------------------------------------------------------------------------------------


def test_the_manifest_is_read_on_connecting(peer):
    assert run(connected(peer.url)).content == {"checkpoint": "abc"}


def test_no_server(closed_url):
    start = time.monotonic()
    with pytest.raises(ServerUnreachable, match=f"no server is ready at {closed_url} after 0.5 s"):
        run(connected(closed_url, connect_timeout_s=0.5))
    assert time.monotonic() - start < 3


def test_a_server_that_is_not_ready(peer):
    peer.ready = False
    with pytest.raises(ServerUnreachable, match="still loading or failed to"):
        run(connected(peer.url, connect_timeout_s=0.5))


def test_a_server_that_listens_but_never_answers(closed_url):
    async def connect():
        async def silent(reader, writer):
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, *closed_url.split(":"))
        async with server:
            await connected(closed_url, connect_timeout_s=0.5)

    with pytest.raises(ServerUnreachable):
        run(connect())


def test_a_port_of_http_is_said_at_once(closed_url):
    async def connect():
        async def answer(reader, writer):
            await reader.readline()
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, *closed_url.split(":"))
        async with server:
            await connected(closed_url, connect_timeout_s=20)

    start = time.monotonic()
    with pytest.raises(ContractMismatch, match="it speaks HTTP, as on port 8000 of a server. Expected the gRPC port"):
        run(connect())
    assert time.monotonic() - start < 10


def test_tls_to_a_server_without_it_is_said_at_once(peer):
    start = time.monotonic()
    with pytest.raises(ContractMismatch, match="it speaks no TLS; leave --tls"):
        run(connected(peer.url, connect_timeout_s=20, tls=Tls()))
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("address", ["localhost", "http://127.0.0.1:8001", "127.0.0.1:99999", ""])
def test_what_is_no_address_is_refused_before_anything_is_sent(address):
    with pytest.raises(InvalidSettings, match="expected|port"):
        run(connected(address))


def test_a_server_that_becomes_ready_is_waited_for(peer):
    peer.ready = False

    async def connect():
        asyncio.get_running_loop().call_later(0.5, setattr, peer, "ready", True)
        return await connected(peer.url)

    assert run(connect()).content == {"checkpoint": "abc"}


def test_a_server_with_other_models(peer):
    del peer.models[QAFM_FIXED_ALPHA]
    with pytest.raises(ContractMismatch, match="does not serve the model 'qafm_fixed_alpha': expected .* not found"):
        run(connected(peer.url))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            lambda outputs: (replace(outputs[0], dims=(512,)), *outputs[1:]),
            r"expected DESCRIPTOR FP32 \[-1,1000\], got DESCRIPTOR FP32 \[-1,512\]",
        ),
        (
            lambda outputs: tuple(output for output in outputs if output is not ALPHA),
            r"expected ALPHA FP32 \[-1,1\], got no ALPHA",
        ),
    ],
)
def test_a_model_with_other_tensors(peer, outputs, message):
    model = peer.models[QAFM]
    peer.models[QAFM] = replace(model, outputs=outputs(model.outputs))
    with pytest.raises(ContractMismatch, match=message):
        run(connected(peer.url))


def test_a_model_with_other_inputs(peer):
    model = peer.models[QAFM]
    peer.models[QAFM] = replace(model, inputs=(*model.inputs, Tensor("EXTRA", "UINT8", (3,))))
    with pytest.raises(ContractMismatch, match=r"expected no EXTRA, got EXTRA UINT8 \[-1,3\]"):
        run(connected(peer.url))


@pytest.mark.parametrize("manifest", [None, "", "not JSON", "[1]"])
def test_a_model_without_a_manifest(peer, manifest):
    peer.manifest = manifest
    with pytest.raises(ContractMismatch, match="has no manifest"):
        run(connected(peer.url))


def test_a_client_that_is_not_entered_says_how():
    with pytest.raises(RuntimeError, match="async with"):
        run(ReidClient("127.0.0.1:1").describe(b"0"))


# --- what a server may lack, and the identity of what it serves
# ------------------------------------------------------------------------------------------------


def manifest_of(**fingerprints):
    return json.dumps({"format": 2, "fingerprints": {QAFM: "aaaa-bbbb", QAFM_FIXED_ALPHA: "cccc-dddd"} | fingerprints})


def test_an_older_server_lacks_optional_outputs_and_a_newer_one_has_more(peer):
    async def work():
        async with ReidClient(peer.url) as client:
            return client.lacks, await client.describe(b"1")

    model = peer.models[QAFM]
    lacks, description = run(work())
    assert lacks == (QAFM_FAST, SCATTER.name, UTILITY.name)
    assert description.scatter is None and description.utility is None

    peer.models[QAFM] = replace(model, outputs=(*model.outputs, SCATTER, Tensor("NEWER", "FP32", (3,))))
    lacks, description = run(work())
    assert lacks == (QAFM_FAST, UTILITY.name)
    assert description.scatter.tolist() == [0.75] * 34 and description.utility is None


def test_an_optional_output_of_another_type_is_a_mismatch(peer):
    model = peer.models[QAFM]
    peer.models[QAFM] = replace(model, outputs=(*model.outputs, replace(SCATTER, dims=(35,))))
    with pytest.raises(ContractMismatch, match=r"expected SCATTER FP32 \[-1,34\], got SCATTER FP32 \[-1,35\]"):
        run(connected(peer.url))


def test_an_optional_ensemble_is_asked_where_it_is_served_and_its_lack_is_said_elsewhere(peer):
    async def work():
        async with ReidClient(peer.url) as client:
            return (await client.describe(b"1", ensemble=QAFM_FAST)).model

    with pytest.raises(ContractMismatch, match="does not serve 'qafm_fast'; it serves qafm, qafm_fixed_alpha"):
        run(work())
    peer.models[QAFM_FAST] = MODELS[QAFM_FAST]
    peer.manifest = manifest_of(qafm_fast="eeee-ffff")
    assert run(work()) == "eeee-ffff/qafm_fast"
    assert peer.requests == [QAFM_FAST]


def test_a_description_says_what_made_it(peer):
    peer.manifest = manifest_of()

    async def work():
        async with ReidClient(peer.url) as client:
            return [(await client.describe(b"1", alpha)).model for alpha in (None, 0.5, 0.25)]

    assert run(work()) == ["aaaa-bbbb/qafm", "cccc-dddd/qafm_fixed_alpha@0.5", "cccc-dddd/qafm_fixed_alpha@0.25"]


def test_after_an_outage_another_model_is_noticed_and_nothing_of_it_is_returned(peer):
    """A server that comes back within `retry_s`: gRPC reconnects, and nothing else would tell."""
    peer.manifest = manifest_of()

    async def work():
        async with ReidClient(peer.url, retry_s=5) as client:
            await client.describe(b"1")
            peer.fail_late, peer.manifest = 1, manifest_of(qafm="zzzz-zzzz")
            with pytest.raises(ModelChanged, match="first it served aaaa-bbbb/qafm, now zzzz-zzzz/qafm"):
                await client.describe(b"2")
            # Nor does it forget.
            with pytest.raises(ModelChanged):
                await client.describe(b"2")
            peer.manifest = manifest_of()
            return await client.describe(b"3")

    assert place(run(work())) == 3


def test_only_the_ensembles_that_were_asked_must_stay(peer):
    peer.manifest = manifest_of()

    async def work():
        async with ReidClient(peer.url) as client:
            await client.describe(b"1")
            peer.manifest = manifest_of(qafm_fixed_alpha="zzzz-zzzz", qafm_fast="eeee-ffff")
            await client.confirm_model()
            await client.describe(b"1", alpha=0.5)
            with pytest.raises(ModelChanged, match="served cccc-dddd/qafm_fixed_alpha, now zzzz-zzzz/qafm_fixed_alpha"):
                await client.confirm_model()

    run(work())


def test_an_ensemble_that_takes_its_weight_from_the_caller_is_not_asked_without_one(peer):
    async def work():
        async with ReidClient(peer.url) as client:
            await client.describe(b"1", ensemble=QAFM_FIXED_ALPHA)

    with pytest.raises(ValueError, match="takes its weight from the caller"):
        run(work())


@pytest.mark.parametrize("concurrency", [0, -1])
def test_nothing_is_fused_by_no_request(peer, concurrency):
    async def work():
        async with ReidClient(peer.url) as client:
            vectors = np.zeros((1, 1024), np.float32)
            await client.fuse(vectors, vectors, np.ones(1, np.float32), concurrency=concurrency)

    with pytest.raises(ValueError, match="at least 1"):
        run(work())


def test_an_outage_of_the_same_model_costs_one_more_look(peer):
    peer.manifest, peer.unavailable = manifest_of(), 2
    (description,) = run(described(peer.url, [b"3"]))
    assert description.model == "aaaa-bbbb/qafm"


@pytest.mark.parametrize("alpha", [None, 0.5])
def test_an_answer_that_is_not_finite_names_its_image_and_its_tensor(peer, tmp_path, alpha):
    (tmp_path / "a.jpg").write_bytes(b"1")
    peer.not_finite = "SEMANTIC"
    with pytest.raises(RequestFailed, match="a.jpg: the model .* failed: SEMANTIC has a value that is not finite"):
        run(described(peer.url, [tmp_path / "a.jpg"], alpha=alpha))


def test_vectors_are_fused_side_by_side_and_land_in_their_places(peer):
    peer.models[FUSION], peer.delay_s = MODELS[FUSION], 0.02
    visual = np.arange(100, dtype=np.float32)[:, None].repeat(1024, axis=1)

    async def work():
        async with ReidClient(peer.url) as client:
            return await client.fuse(visual, visual, np.ones(100, np.float32), concurrency=4)

    assert run(work()).argmax(axis=1).tolist() == list(range(100))
    assert peer.requests == [FUSION] * 13 and peer.most_in_flight == 4


# --- describing
# ------------------------------------------------------------------------------------------------


def test_one_image(peer, tmp_path):
    path = tmp_path / "crop.jpg"
    path.write_bytes(b"7 of 1000")

    async def work():
        async with ReidClient(peer.url) as client:
            return await client.describe(path), await client.describe(b"8", alpha=0.25)

    whole, fixed = run(work())
    assert (place(whole), place(fixed)) == (7, 8)
    assert (whole.alpha, whole.identifiability) == (0.75, 0.75)
    assert (fixed.alpha, fixed.identifiability) == (0.25, None)
    assert peer.requests == [QAFM, QAFM_FIXED_ALPHA]
    shapes = (whole.descriptor, whole.visual, whole.semantic, whole.attribute_probabilities)
    assert [array.shape for array in shapes] == [(1000,), (1024,), (1024,), (30,)]
    assert all(array.dtype == np.float32 for array in shapes)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_an_alpha_that_is_no_weight(peer, alpha):
    async def work():
        async with ReidClient(peer.url) as client:
            await client.describe(b"1", alpha)

    with pytest.raises(ValueError, match="from 0 to 1"):
        run(work())


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (b"bad", InvalidImage, "the image is damaged"),
        (b"broken", RequestFailed, "the model 'qafm' at 127.0.0.1:.* failed: a stub has died"),
        (Path("absent.jpg"), InvalidImage, "absent.jpg: the file cannot be read: No such file"),
        (bytes(MAX_BYTES + 1), InvalidImage, "at most 8,388,608 are accepted"),
    ],
)
def test_an_image_that_fails(peer, image, error, message):
    with pytest.raises(error, match=message):
        run(described(peer.url, [image]))
    before, failed, after = run(described(peer.url, [b"1", image, b"2"], return_errors=True))
    assert isinstance(failed, error)
    assert (place(before), place(after)) == (1, 2)


def test_an_answer_that_takes_too_long(peer):
    peer.delay_s = 5

    async def work():
        async with ReidClient(peer.url, request_timeout_s=0.3) as client:
            await client.describe(b"1")

    with pytest.raises(RequestFailed, match="no answer within 0.3 s"):
        run(work())
    assert len(peer.requests) == 1  # a server that is slow is not asked again


def test_unavailable_is_tried_again(peer):
    peer.unavailable = 2
    (found,) = run(described(peer.url, [b"3"]))
    assert place(found) == 3
    assert len(peer.requests) == 3


def test_a_queue_that_stays_full_is_not_taken_for_a_server_that_is_gone(peer):
    peer.unavailable = 1_000_000

    async def work():
        async with ReidClient(peer.url, retry_s=0.5) as client:
            return await client.describe(b"1")

    with pytest.raises(RequestFailed, match="queue was full for 0.5 s; send less at once"):
        asyncio.run(work())


def test_unavailable_for_good_ends_even_where_errors_are_returned(peer):
    peer.fail_late = 1_000_000

    async def work():
        async with ReidClient(peer.url, retry_s=0.5) as client:
            return [result async for _, result in client.describe_many([b"1"], return_errors=True)]

    with pytest.raises(ServerUnreachable, match="after 0.5 s") as failed:
        run(work())
    assert len(peer.requests) > 1
    assert (failed.value.model, failed.value.request_id) == (QAFM, peer.request_ids[0])


def test_an_error_says_which_request_it_was_as_the_server_knows_it(peer):
    with pytest.raises(RequestFailed) as failed:
        run(described(peer.url, [b"broken"]))
    assert (failed.value.url, failed.value.model) == (peer.url, QAFM)
    assert failed.value.request_id == peer.request_ids[0]
    assert len(set(peer.request_ids)) == len(peer.request_ids)


# --- access
# ----------------------------------------------------------------------------------------------------


def test_headers_go_with_every_request(peer):
    async def work():
        async with ReidClient(peer.url, headers={"Authorization": "Bearer abc"}) as client:
            await client.describe(b"1")

    run(work())
    assert len(peer.headers) == 5  # ready, metadata of two ensembles, configuration, the image
    assert all(one["authorization"] == "Bearer abc" for one in peer.headers)


@pytest.mark.parametrize("headers", [{"a name": "1"}, {"": "1"}, {"name": "ä"}, {"name": "two\nlines"}])
def test_a_header_that_cannot_be_sent(peer, headers):
    with pytest.raises(InvalidSettings, match="cannot be sent: expected letters"):
        run(connected(peer.url, headers=headers))


def test_a_server_that_refuses_this_client(peer):
    peer.refuse = True
    with pytest.raises(RequestFailed, match=r"refuses this client: who are you\?\. Check its headers"):
        run(connected(peer.url))


def test_a_server_that_begins_to_refuse(peer):
    async def work():
        async with ReidClient(peer.url) as client:
            peer.refuse = True
            await client.describe(b"1")

    with pytest.raises(RequestFailed, match="refuses this client") as failed:
        run(work())
    assert (failed.value.model, failed.value.request_id) == (QAFM, peer.request_ids[0])


@pytest.mark.parametrize("given", ["key", "chain", "empty", "missing"])
def test_certificates_that_cannot_be_used(given, tmp_path):
    (tmp_path / "file.pem").write_bytes(b"" if given == "empty" else b"PEM")
    expected = {
        "key": "expected both or neither, got only .*file.pem",
        "chain": "expected both or neither, got only .*file.pem",
        "empty": "file.pem: the file is empty",
        "missing": "absent.pem: the certificate or key cannot be read: No such file",
    }
    argument = {"key": "private_key", "chain": "certificate_chain"}.get(given, "root_certificates")
    name = "absent.pem" if given == "missing" else "file.pem"
    with pytest.raises(InvalidSettings, match=expected[given]):
        run(connected("localhost:1", tls=Tls(**{argument: tmp_path / name})))


def test_a_server_that_asks_for_a_certificate(guarded_peer, certificates):
    tls = Tls(certificates.root, private_key=certificates.key, certificate_chain=certificates.chain)

    async def work(**access):
        async with ReidClient(guarded_peer.url, connect_timeout_s=1, **access) as client:
            return await client.describe(b"5")

    assert place(run(work(tls=tls))) == 5
    for refused in ({}, {"tls": Tls()}, {"tls": Tls(certificates.root)}):
        with pytest.raises(ServerUnreachable):
            run(work(**refused))


# --- many images
# -----------------------------------------------------------------------------------------------


def test_many_images_come_in_order_with_bounded_concurrency(peer):
    peer.delay_s = 0.01
    images = [str(number).encode() for number in range(100)]
    found = run(described(peer.url, images, concurrency=5))
    assert [place(description) for description in found] == list(range(100))
    assert peer.most_in_flight == 5


def test_a_slow_consumer_holds_the_source_back(peer):
    taken = 0

    def source():
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield str(number).encode()

    async def work():
        async with (
            ReidClient(peer.url) as client,
            aclosing(client.describe_many(source(), concurrency=2)) as results,
        ):
            async for _ in results:
                await asyncio.sleep(0.2)
                break

    run(work())
    assert taken <= 8
    assert peer.in_flight == 0


def test_leaving_early_cancels_what_is_in_flight(peer):
    peer.delay_s = 0.05

    async def work():
        async with ReidClient(peer.url) as client:
            async with aclosing(client.describe_many([b"1"] * 50, concurrency=4)) as results:
                async for _ in results:
                    break
            await asyncio.sleep(0.3)

    run(work())
    assert len(peer.requests) < 12


def test_no_images(peer):
    assert run(described(peer.url, [])) == []


def test_the_time_for_trying_again_begins_when_the_server_is_gone(peer):
    """A request that had already waited longer than that when its server died is tried again all the same."""
    peer.delay_s = 1.0
    peer.fail_late = 1

    async def work():
        async with ReidClient(peer.url, retry_s=0.5) as client:
            return await client.describe(b"4")

    assert place(run(work())) == 4
