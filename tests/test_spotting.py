"""Spotting: worked intervals and scores, long simulated videos whose truth is known, and two spotters on them."""

import numpy as np
import pytest
import torch

from deft.clips.facs import EMOTIONS
from deft.clips.simulator import Camera, sample_identity
from deft.clips.simulator.long_video import BLINK, MICRO, REST, TALK, film
from deft.evaluation import spot_study, spotting
from deft.evaluation.peers import mean
from deft.evaluation.peers.course import CourseSpotter
from deft.evaluation.protocols.members import SETS
from deft.evaluation.tables import present

PERSON = sample_identity(13)
FPS = 30.0


@pytest.fixture(scope="module")
def video():
    """Two micro-expressions, a blink and talk in eight seconds."""
    return film(PERSON, 4, seconds=8.0, fps=FPS, emotions=("happiness", "surprise"), blinks=1, intensity=(0.25, 0.4))


# ---------------------------------------------------------------- scores


def test_iou_counts_frames_with_both_ends():
    assert spotting.iou((0, 9), (0, 9)) == 1
    assert spotting.iou((0, 9), (5, 14)) == pytest.approx(5 / 15)
    assert spotting.iou((0, 9), (10, 19)) == 0
    assert spotting.iou((0, 9), (9, 9)) == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"\(5, 4\) ends before it begins"):
        spotting.iou((0, 9), (5, 4))


def test_half_is_a_hit_and_less_is_none():
    assert spotting.match([(0, 9)], [(0, 4)]) == [(0, 0)]  # 5 of 10 frames
    assert spotting.match([(0, 9)], [(0, 3)]) == []


def test_an_interval_is_matched_once():
    assert spotting.match([(0, 4), (5, 9)], [(0, 9)]) == [(0, 0)]  # half of each, but one answer is one hit
    assert spotting.match([(0, 9)], [(0, 8), (0, 9)]) == [(0, 1)]  # the better of two
    # the first answer suits both truths, the second only the first: greedily taking the best IoU would lose a hit
    assert spotting.match([(0, 9), (4, 13)], [(1, 10), (0, 8)]) == [(0, 1), (1, 0)]
    assert spotting.match([(0, 9)], []) == spotting.match([], [(0, 9)]) == []


def test_counts_are_pooled_over_videos_before_f1():
    truth = [[(0, 9), (50, 59)], [(20, 29)], []]
    spotted = [[(1, 10)], [(0, 9), (22, 31)], [(5, 9)]]
    found = spotting.spotting_scores(truth, spotted)
    assert (found["tp"], found["fp"], found["fn"]) == (2, 2, 1)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((2 / 4, 2 / 3, 4 / 7))
    assert spotting.spotting_scores([[(0, 9)]], [[]])["f1"] == 0 == spotting.spotting_scores([[]], [[]])["f1"]
    with pytest.raises(ValueError, match="3 videos of truth, 2 of answers"):
        spotting.spotting_scores(truth, spotted[:2])


def test_strs_by_hand():
    classes = ("positive", "negative", "surprise")
    truth = [[(0, 9, "positive"), (50, 59, "negative"), (80, 89, "negative")], [(0, 9, "surprise")]]
    spotted = [
        [(0, 9, "positive"), (51, 60, "positive"), (80, 89, "negative"), (100, 109, "surprise")],
        [(0, 3, "surprise")],
    ]
    found = spotting.strs(truth, spotted, classes)
    # hits: 3 of 4 true, of 5 said -> F1 2 * 3 / (4 + 5). Among them positive said 2, right 1; negative said 1, right 1
    # of 2; no surprise.
    assert found["f1_spot"] == pytest.approx(6 / 9)
    precision, recall = (1 / 2 + 1 + 0) / 3, (1 + 1 / 2 + 0) / 3
    assert found["f1_recognise"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert found["strs"] == pytest.approx(2 / 3 * 1 / 2)
    assert spotting.strs(truth, [[], []], classes)["strs"] == 0
    # what is said of a false alarm or of a missed one changes nothing
    spotted[0][3], spotted[1][0] = (100, 109, "negative"), (0, 3, "positive")
    assert spotting.strs(truth, spotted, classes) == found


def test_an_answer_outside_the_list_is_a_miss_and_a_truth_outside_it_an_error():
    said = spotting.strs([[(0, 9, "a"), (20, 29, "b")]], [[(0, 9, "a"), (20, 29, "whatever")]], ("a", "b"))
    assert said["f1_recognise"] == pytest.approx(2 * 0.5 * 0.5 / 1)
    with pytest.raises(ValueError, match="'others' is not in the class list"):
        spotting.strs([[(0, 9, "others")]], [[(0, 9, "a")]], ("a", "b"))


# ---------------------------------------------------------------- videos


def test_a_long_video_shows_what_was_asked_with_rest_between(video):
    kinds = sorted(event.kind for event in video.events)
    assert kinds == sorted([MICRO, MICRO, BLINK, TALK]) and video.frames.shape == (240, 128, 128, 3)
    assert sorted(emotion for *_, emotion in video.truth) == ["happiness", "surprise"]
    ends = [-1, *(event.offset for event in video.events)]
    starts = [*(event.onset for event in video.events), 240]
    assert all(start - end > REST * FPS for end, start in zip(ends, starts))
    for event in video.events:
        assert event.onset < event.apex < event.offset
        assert event.kind != MICRO or (event.offset - event.onset + 1) / FPS <= 0.5


def test_movement_lies_inside_the_events_and_nowhere_else():
    video = film(PERSON, 4, seconds=4.0, fps=FPS, emotions=("happiness",), blinks=1, talks=0, camera=Camera(), sway=0.0)
    change = np.abs(video.frames[1:].astype(float) - video.frames[:-1]).max(axis=(1, 2, 3))  # t -> t + 1
    moves = np.zeros(len(change), bool)
    for event in video.events:
        moves[event.onset - 1 : event.offset + 1] = True
        assert change[event.onset : event.offset].max() > 3
        assert event.kind == TALK or change[event.onset - 1] <= change[event.onset : event.offset].max()
    assert (change[~moves] == 0).all()
    still = np.abs(video.frames[video.events[0].onset - 1].astype(float) - video.frames[0]).max()
    assert still == 0


def test_the_head_wanders_within_bounds_and_draws_depend_on_the_seed(video):
    short, again, other = (
        film(PERSON, seed, seconds=3.0, fps=FPS, emotions=("happiness",), blinks=0, talks=0) for seed in (4, 4, 5)
    )
    assert np.array_equal(again.frames, short.frames) and again.events == short.events
    assert other.events[0].actions != short.events[0].actions
    assert np.abs(video.landmarks - other.landmarks).max() < 8


def test_a_video_that_cannot_hold_its_movements_is_refused():
    with pytest.raises(ValueError, match="3 movements with 0.5 s of rest around each lack .* of 2 s"):
        film(PERSON, 1, seconds=2.0, emotions=("happiness", "surprise"), blinks=1, talks=0)
    with pytest.raises(ValueError, match="no habit of sim-a shows 'joy'"):
        film(PERSON, 1, emotions=("joy",))


# ---------------------------------------------------------------- spotters


def test_the_course_finds_an_expression_and_neither_blink_nor_talk(video):
    """The raised outer brows are under the fringe of this person: one of two expressions can be seen."""
    found = CourseSpotter().spot(video.frames, FPS, video.landmarks)
    scores = spotting.spotting_scores([video.truth], [found])
    assert (scores["tp"], scores["fp"], scores["fn"]) == (1, 0, 1)


def test_apexes_of_a_worked_course():
    course = np.tile([0.0, 0.1, 0.2], 100)
    for at in (60, 64, 150, 160, 170, 180, 250):  # an expression and its echo, four syllables, an expression
        course[at] = 2.0 if at != 64 else 1.0
    assert CourseSpotter().apexes(course, FPS) == [60, 250]
    assert CourseSpotter(longest=1.5).apexes(course, FPS) == [
        60,
        150,
        250,
    ]  # talk as one movement: its first peak of equal ones
    assert CourseSpotter(pause=0.1).apexes(course, FPS) == [60, 64, 150, 160, 170, 180, 250]
    assert CourseSpotter().apexes(np.tile([0.0, 0.1, 0.2], 100), FPS) == []


def test_mean_has_the_parameters_of_the_published_network():
    network = mean.MeanNet()
    assert sum(p.numel() for p in network.parameters()) == 3593
    assert network(torch.zeros(2, 3, 42, 42)).shape == (2,)


def test_targets_and_intervals_by_hand():
    # frames 10 .. 14 move; windows of 4 frames that hold one of them start at 7 .. 14
    assert np.flatnonzero(mean.targets(30, [(10, 14)], 4)).tolist() == list(range(7, 15))
    assert mean.targets(30, [], 4).tolist() == [0] * 30
    score = np.zeros(60)
    score[[20, 40]] = (
        1,
        0.5,
    )  # smoothed over 9: plateaus of 1/9 around 20 and .5/9 around 40, below mean + .55 (max - mean)
    ((first, last),) = mean.intervals(score, 4)
    assert (first, last) == (20 + 2 - 4, 20 + 2 + 4)  # the middle of the window, k on both sides
    assert mean.intervals(np.zeros(60), 4) == mean.intervals(np.zeros(1), 4) == []


def test_stretched_images_fill_their_range_and_hide_amplitude(video):
    frames = video.frames[:9]
    plain, stretched = (mean.images(frames, video.landmarks, 5, kind) for kind in (False, True))
    assert plain.shape == stretched.shape == (4, 3, 42, 42)
    assert (stretched.min((2, 3)) == 0).all() and stretched.max((2, 3)) == pytest.approx(np.ones((4, 3)))
    assert np.ptp(plain[:, :2], axis=(2, 3)).max() < 0.5  # a still face: less than 2 px between any two places


def test_mean_learns_movement_in_one_place(monkeypatch):
    """Made-up images in which the mouth moves while an interval lasts; the loss falls and a new video is read right."""

    def images(frames, landmarks, k, stretched):
        x = np.random.default_rng(len(frames)).normal(0, 0.05, (len(frames) - k, 3, 42, 42)).astype(np.float32)
        x[mean.targets(len(x), [(int(a), int(b)) for a, b in landmarks], k) == 1, 1, 28:36, 10:32] += 0.6
        return x

    monkeypatch.setattr(mean, "images", images)
    video = lambda count, *truth: (np.zeros((count, 1)), FPS, np.array(truth), truth)  # noqa: E731
    spotter = mean.MeanSpotter(epochs=12, rate=5e-3)
    with pytest.raises(RuntimeError, match="call fit"):
        spotter.spot(np.zeros((50, 1)), FPS)
    with pytest.raises(ValueError, match="no training video holds a micro-expression"):
        spotter.fit([(np.zeros((50, 1)), FPS, None, [])])
    spotter.fit([video(70, (20, 29)), video(80, (50, 59))])
    assert spotter.parameters == 3593 and round(spotter.half * FPS) == 5
    assert spotter.losses[-1] < 0.5 * spotter.losses[0]
    truth = [(30, 39), (70, 79)]
    found = spotter.spot(np.zeros((100, 1)), FPS, np.array(truth))
    assert spotting.spotting_scores([truth], [found])["f1"] == 1
    again = mean.MeanSpotter(epochs=2, rate=5e-3).fit([video(70, (20, 29)), video(80, (50, 59))])
    assert again.losses == spotter.losses[:2]


# ---------------------------------------------------------------- the study
def test_the_study_hands_each_interval_on_alone_and_a_refusal_takes_it_back():
    asked = []

    def pipeline(frames, fps, onset, offset):
        asked.append((len(frames), fps, onset, offset))
        return {"emotion": "" if len(asked) == 2 else "happiness"}

    frames = np.zeros((50, 8, 8, 3), np.uint8)
    video = spot_study.long_video.LongVideo(frames, FPS, np.zeros((68, 2)), (), 0)
    said = spot_study.named(pipeline, video, [(0, 9), (20, 29)])
    assert said == [(0, 9, "happiness"), (20, 29, "")] and asked == [(10, FPS, 0, 9)] * 2


def test_the_table_pools_videos_and_its_page_names_the_best_spotter():
    truth = [[(0, 9, emotion), (30, 39, emotion)] for emotion in EMOTIONS]
    right = [list(one) for one in truth]
    half = [[one[0], (60, 69, "anger")] for one in truth]  # one hit, one false
    found = {
        (spot_study.TRUTH, spot_study.KEPT): (truth, right),
        (spot_study.COURSE, spot_study.KEPT): (truth, half),
        (spot_study.COURSE, spot_study.TAKEN_BACK): (truth, [one[:1] for one in half]),
    }
    told = spot_study.table(found).set_index(["spotter", "answers"])
    assert told.loc[spot_study.TRUTH].iloc[0][["strs", "f1_spot_low", "f1_spot"]].tolist() == [1, 1, 1]
    named, refused = (told.loc[spot_study.COURSE, how] for how in (spot_study.KEPT, spot_study.TAKEN_BACK))
    assert (named.tp, named.fp, named.f1_spot) == (5, 5, 0.5)
    assert (refused.tp, refused.fp) == (5, 0) and refused.f1_spot == pytest.approx(2 / 3, abs=1e-4)
    assert 0 < refused.strs_low <= refused.strs <= refused.strs_high
    (shown,) = present.parts(spot_study.PAGE, told.reset_index())
    assert f"{spot_study.COURSE}, DEFT {spot_study.TAKEN_BACK}" in shown.finding


def test_the_people_of_the_study_go_round_all_emotions_and_habits(monkeypatch):
    filmed = []
    monkeypatch.setattr(
        spot_study.long_video, "film", lambda who, *given, habit: filmed.append((who.index, given[3], habit))
    )
    list(spot_study.videos(spot_study.FIRST, 10, 7, 1.0, FPS))
    assert {habit for *_, habit in filmed} == set(SETS) and len({who for who, *_ in filmed}) == 10
    counts = np.unique([emotion for _, shown, _ in filmed for emotion in shown], return_counts=True)
    assert counts[0].tolist() == sorted(EMOTIONS) and set(counts[1]) == {6}


def test_a_peak_of_a_short_video_stays_where_it_is():
    """Fewer windows than the box is long: the smoothed course has as many places as the score."""
    score = np.zeros(15)
    score[7] = 1
    ((first, last),) = mean.intervals(score + 1e-3 * np.exp(-np.square(np.arange(15) - 7.0)), 10)
    assert abs((first + last) / 2 - 12) <= 1
