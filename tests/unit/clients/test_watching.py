"""What a watcher hears never goes backwards."""

from hypothesis import given
from hypothesis import strategies as st

from horde.api.generation.v1.generation_pb2 import Generation, Image, WaitEstimate
from horde.api.generation.v1.generation_service_pb2 import ImageWait, Preview, Progress, WatchGenerationResponse
from horde.api.job.v1.job_pb2 import JobState
from horde.clients.watching import Finished, ImageChanged, Order, Previewed, Progressed, Snapshot, Waiting

QUEUED, LEASED, ENDED = JobState.JOB_STATE_QUEUED, JobState.JOB_STATE_LEASED, JobState.JOB_STATE_ENDED


def image(version: int, state: JobState.ValueType = LEASED, lease: str = "1-1", job: str = "a", step: int = 0) -> Image:
    return Image(
        job_id=job, index=0, version=version, state=state, lease_id=lease if state == LEASED else "", step=step
    )


def snapshot(version: int, *images: Image) -> WatchGenerationResponse:
    return WatchGenerationResponse(snapshot=Generation(generation_id="g", version=version, images=images))


def progress(step: int, lease: str = "1-1") -> WatchGenerationResponse:
    return WatchGenerationResponse(progress=Progress(job_id="a", lease_id=lease, step=step, steps=20))


def test_a_snapshot_comes_first_and_an_older_one_is_dropped() -> None:
    order = Order()
    assert isinstance(order.accept(snapshot(5, image(5))), Snapshot)
    assert order.accept(snapshot(4, image(4))) is None
    assert isinstance(order.accept(snapshot(5, image(5))), Snapshot)


def test_an_image_is_told_once_for_each_version() -> None:
    order = Order()
    order.accept(snapshot(1, image(1, QUEUED)))
    assert isinstance(order.accept(WatchGenerationResponse(image=image(2))), ImageChanged)
    assert order.accept(WatchGenerationResponse(image=image(2))) is None
    assert order.accept(WatchGenerationResponse(image=image(1, QUEUED))) is None


def test_two_images_of_one_version_are_both_told() -> None:
    order = Order()
    order.accept(snapshot(1, image(1, QUEUED), image(1, QUEUED, job="b")))
    assert isinstance(order.accept(WatchGenerationResponse(image=image(2))), ImageChanged)
    assert isinstance(order.accept(WatchGenerationResponse(image=image(2, job="b"))), ImageChanged)


def test_progress_counts_only_for_the_current_lease_and_only_forwards() -> None:
    order = Order()
    order.accept(snapshot(1, image(1, step=3)))
    assert order.accept(progress(3)) is None
    assert isinstance(order.accept(progress(4)), Progressed)
    assert order.accept(progress(2)) is None
    assert order.accept(progress(9, lease="1-2")) is None
    order.accept(WatchGenerationResponse(image=image(2, QUEUED)))
    assert order.accept(progress(9)) is None
    order.accept(WatchGenerationResponse(image=image(3, lease="1-2")))
    assert isinstance(order.accept(progress(1, lease="1-2")), Progressed)


def test_previews_of_a_lapsed_lease_are_dropped() -> None:
    order = Order()
    order.accept(snapshot(1, image(1)))
    old = WatchGenerationResponse(preview=Preview(job_id="a", lease_id="0-9", step=1, image=b"x"))
    now = WatchGenerationResponse(preview=Preview(job_id="a", lease_id="1-1", step=1, image=b"x"))
    assert order.accept(old) is None
    assert isinstance(order.accept(now), Previewed)


def test_a_wait_counts_only_while_queued() -> None:
    order = Order()
    wait = WatchGenerationResponse(wait=ImageWait(job_id="a", wait=WaitEstimate(jobs_ahead=2)))
    assert order.accept(wait) is None
    order.accept(snapshot(1, image(1, QUEUED)))
    heard = order.accept(wait)
    assert isinstance(heard, Waiting)
    assert heard.jobs_ahead == 2
    order.accept(WatchGenerationResponse(image=image(2)))
    assert order.accept(wait) is None


def test_what_a_newer_mesh_says_is_left_out() -> None:
    assert Order().accept(WatchGenerationResponse()) is None


def test_finished_ends_it() -> None:
    order = Order()
    order.accept(snapshot(1, image(1)))
    over = WatchGenerationResponse(finished=Generation(version=2, finished=True, images=[image(2, ENDED)]))
    assert isinstance(order.accept(over), Finished)


@given(st.lists(st.tuples(st.sampled_from(["snapshot", "image", "progress"]), st.integers(0, 6)), max_size=30))
def test_whatever_arrives_versions_and_steps_only_grow(messages: list[tuple[str, int]]) -> None:
    order = Order()
    seen: list[int] = []
    steps: dict[str, int] = {}
    for kind, number in messages:
        response = {
            "snapshot": snapshot(number, image(number, lease=f"1-{number}")),
            "image": WatchGenerationResponse(image=image(number, lease=f"1-{number}")),
            "progress": progress(number, lease=f"1-{number // 2}"),
        }[kind]
        match order.accept(response):
            case Snapshot(generation):
                seen.append(generation.version)
            case ImageChanged(told):
                assert not seen or told.version >= 0
                seen.append(told.version)
            case Progressed() as told_progress:
                assert told_progress.step > steps.get(told_progress.lease_id, 0)
                steps[told_progress.lease_id] = told_progress.step
            case _:
                pass
    assert seen == sorted(seen)
