"""The path of a query: what is answered, what is withheld, what is degraded, and what happens in between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from connectors.redis import MemoryStore
from query_api.answer import Asking, Draft, Emit, ExtractiveAnswerer, GenerationFailed
from query_api.deadline import Deadline
from query_api.events import STATIC_TEXT
from query_api.repeats import Repeats
from query_api.reranking import SecondLook
from schemas.acl import OPERATOR, PUBLIC
from schemas.errors import Retryable
from schemas.floors import DeleteFloor, Floor
from schemas.index import DocKey, SourcePosition
from schemas.queries import UNKNOWN_ANSWER, AnswerEvent, QueryRequest
from schemas.tokens import WriteToken
from tests.unit.query_api.world import World, run
from tests.waiting import wait_until

PIN = "You can change your card PIN at any cash machine."
NEW_PIN = "You can change your card PIN only in a branch."
QUESTION = "How do I change my card PIN?"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def cited(event: AnswerEvent) -> list[tuple[str, int]]:
    return [(citation.doc_id, citation.version) for citation in event.citations]


def found(event: AnswerEvent) -> set[str]:
    assert event.explanation is not None
    return {candidate.doc_id for candidate in event.explanation.candidates}


# -- answers


def test_answers_from_both_arms_with_citation_and_freshness(world: World) -> None:
    """A plain question: hybrid, not degraded, cited, and fresh as measured by the reader."""
    world.upsert("pin", 3, f"{PIN}\nCheques are gone.")
    event = world.ask(QUESTION)
    assert (event.outcome, event.mode, event.degraded) == ("answered", "hybrid", ())
    assert event.text == f"{PIN} [1]"
    (citation,) = event.citations
    assert (citation.doc_id, citation.version, citation.chunk, citation.text) == ("pin", 3, 0, PIN)
    assert event.as_of is not None
    assert event.as_of.partitions[0].position == 1
    assert event.explanation is not None
    assert {arm.arm for arm in event.explanation.arms} == {"vector", "keyword"}


def test_nothing_that_supports_an_answer_is_said_word_for_word(world: World) -> None:
    """An empty index and an unrelated one both give exactly the agreed sentence, without citations."""
    assert world.ask(QUESTION).text == UNKNOWN_ANSWER
    world.upsert("bread", 1, "Sourdough needs flour and patience.")
    event = world.ask("Who won the world cup?")
    assert (event.outcome, event.text, event.citations, event.mode) == ("unknown", UNKNOWN_ANSWER, (), "hybrid")


def test_after_a_delete_its_question_is_unknown(world: World) -> None:
    """The rows are still in both stores; the view decides."""
    world.upsert("pin", 1, PIN)
    world.upsert("bread", 1, "Sourdough needs flour and patience.")
    assert world.ask(QUESTION).outcome == "answered"
    world.delete("pin", 2)
    assert world.ask(QUESTION).text == UNKNOWN_ANSWER


# -- interleavings of rows and manifests


def test_rows_before_their_manifest_are_not_shown(world: World) -> None:
    """New rows are searchable, the manifest is not published: the old version answers, alone."""
    world.upsert("pin", 1, PIN)
    records = world.writer.upsert(DocKey("docs", "pin"), 2, NEW_PIN)
    world.write_rows(records)
    assert cited(world.ask(QUESTION)) == [("pin", 1)]
    world.publish(records)
    assert cited(world.ask(QUESTION)) == [("pin", 2)]


def test_a_manifest_before_its_rows_never_brings_back_old_text(world: World) -> None:
    """The manifest is seen, its rows are not: keywords find the new text, old rows are dropped."""
    world.upsert("pin", 1, PIN)
    world.publish(world.writer.upsert(DocKey("docs", "pin"), 2, NEW_PIN))
    event = world.ask(QUESTION, OPERATOR)
    assert cited(event) == [("pin", 2)]
    assert event.explanation is not None
    assert event.explanation.withheld == {"superseded": 1}


def test_one_version_of_a_document_in_an_answer(world: World) -> None:
    """Two versions lie in the store with equal passages beside; citations and candidates hold one version only."""
    world.upsert("pin", 1, f"{PIN}\nA PIN has four digits.")
    world.upsert("pin", 2, f"{NEW_PIN}\nA PIN has four digits.")
    event = world.ask(QUESTION)
    assert event.explanation is not None
    assert {candidate.version for candidate in event.explanation.candidates} == {2}


def test_a_floor_hides_before_the_manifest_does(world: World) -> None:
    """The express lane knows of the delete; the write path has not come to it."""
    world.upsert("pin", 1, PIN)
    world.floor("pin", Floor(delete=DeleteFloor(2, SourcePosition(0, 99))))

    def is_hidden() -> bool:
        with world.view.snapshot() as snapshot:
            return snapshot.document(DocKey("docs", "pin")) is None

    wait_until(is_hidden, within_s=10, what="the floor")
    assert world.ask(QUESTION).outcome == "unknown"


# -- who may read


def test_each_caller_gets_what_they_may_read(world: World) -> None:
    """Groups see theirs, others the public text, and only operators how many were withheld."""
    world.upsert("secret", 1, "The card PIN of the vault can change daily.", ("group:vault",))
    world.access("secret", 2, ("group:board",))  # rows still say group:vault
    world.upsert("pin", 1, PIN)
    assert found(world.ask("card PIN vault change", "group:board")) == {"secret", "pin"}
    event = world.ask("card PIN vault change", "group:vault")
    assert found(event) == {"pin"}
    assert event.explanation is not None
    assert event.explanation.withheld is None


def test_an_expired_document_is_not_shown_at_the_second(world: World) -> None:
    """One millisecond before its end it answers, at its end it does not."""
    world.upsert("pin", 1, PIN)
    world.expires("pin", 2, world.wall_ms + 1_000)
    world.wall_ms += 999
    assert world.ask(QUESTION).outcome == "answered"
    world.wall_ms += 1
    assert world.ask(QUESTION).outcome == "unknown"


def test_a_caller_who_may_read_one_percent_gets_a_full_result(tmp_path: Path) -> None:
    """300 documents say the same, 3 are readable; rows in the store still deny them, and are found all the same."""
    world = World(tmp_path, candidates=20, max_candidates=40)
    records = []
    for number in range(300):
        allow = ("group:few",) if number % 100 == 0 else ("group:others",)
        key = DocKey("docs", f"d{number}")
        batch = world.writer.upsert(key, 1, f"{PIN} Variant {number} of the card PIN change.", allow)
        world.write_rows(batch, ("group:others",))
        records += batch
    world.publish(records)
    world.log.next[world.settings.kafka.topics.documents, 0] = 300
    world.wait_until_read()
    event = world.ask(QUESTION, "group:few")
    assert event.explanation is not None
    assert found(event) == {"d0", "d100", "d200"}
    assert all(candidate.vector_score is not None for candidate in event.explanation.candidates)
    assert world.vectors.exact_searches == 1
    world.close()


def test_more_is_fetched_when_too_few_pass(tmp_path: Path) -> None:
    """Candidates of the first round are stale rows: as many as may be are fetched, and current ones come."""
    world = World(tmp_path, candidates=10, max_candidates=200)
    for version in range(1, 40):
        world.write_rows(world.writer.upsert(DocKey("docs", "pin"), version, f"{QUESTION} {PIN}", None))
        world.writer.texts.clear()
    for number in range(30):
        world.upsert(f"d{number}", 1, f"Number {number}: how a PIN is changed at the card machine.")
    event = world.ask(QUESTION, OPERATOR)
    assert world.vectors.limits == [10, 200]
    assert {doc for doc, _ in cited(event)} <= {f"d{number}" for number in range(30)}
    assert event.outcome == "answered"
    world.close()


# -- evidence withdrawn between check and final event


class Interrupted(ExtractiveAnswerer):
    """Something happens while the answer is made, the first `times` times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.calls = 0
        self.world: World | None = None
        self.happening: Callable[[World, int], None] = lambda _world, _call: None

    async def answer(self, asking: Asking, deadline: Deadline, emit: Emit) -> Draft:
        draft = await super().answer(asking, deadline, emit)
        self.calls += 1
        if self.calls <= self.times and self.world is not None:
            self.happening(self.world, self.calls)
        return draft


def test_revoked_while_answering_is_not_shown(tmp_path: Path) -> None:
    """A revocation between check and final event: answered again without it."""
    answerer = Interrupted(times=1)
    world = answerer.world = World(tmp_path, answerer)
    world.upsert("pin", 1, PIN)
    world.upsert("other", 1, "A card PIN is four digits; ask support how to change it.")
    answerer.happening = lambda world, _: world.access("pin", 2, ("group:hr",))
    event = world.ask(QUESTION)
    assert (event.outcome, cited(event), answerer.calls) == ("answered", [("other", 1)], 2)
    world.close()


def test_withdrawn_twice_is_unknown(tmp_path: Path) -> None:
    """It is answered again once, not for ever; what was withdrawn is never shown."""
    answerer = Interrupted(times=2)
    world = answerer.world = World(tmp_path, answerer)
    for doc_id in ("a", "b", "c"):
        world.upsert(doc_id, 1, PIN)
    answerer.happening = lambda world, call: world.delete("abc"[call - 1], 2)
    event = world.ask(QUESTION)
    assert (event.outcome, event.text, event.degraded) == ("unknown", UNKNOWN_ANSWER, ("evidence_withdrawn",))
    world.close()


# -- degradation


def test_without_vectors_keywords_answer(world: World) -> None:
    """Milvus away: mode keyword, and the reason."""
    world.upsert("pin", 1, PIN)
    world.vectors.failure = Retryable("away")
    event = world.ask(QUESTION)
    assert (event.outcome, event.mode, event.degraded) == ("answered", "keyword", ("vector_unavailable",))


def test_a_late_arm_is_not_waited_for(world: World) -> None:
    """A vector store that hangs costs its share of the deadline, not the answer."""
    world.upsert("pin", 1, PIN)
    release = threading.Event()
    world.vectors.before_search = lambda: release.wait(10)
    event = world.ask(QUESTION, deadline_s=0.5)
    release.set()
    assert (event.outcome, event.mode, event.degraded) == ("answered", "keyword", ("vector_timeout",))
    assert event.took_ms is not None
    assert event.took_ms < 500


def test_without_keywords_vectors_answer(world: World) -> None:
    """A damaged keyword index: mode vector, and the reason."""
    world.upsert("pin", 1, PIN)
    world.keywords.failure = RuntimeError("damaged")
    event = world.ask(QUESTION)
    assert (event.outcome, event.mode, event.degraded) == ("answered", "vector", ("keyword_failed",))


def test_failed_retrieval_is_not_ignorance(world: World) -> None:
    """Both arms away is `failed`, never `I don't know`."""
    world.upsert("pin", 1, PIN)
    world.vectors.failure = world.keywords.failure = Retryable("away")
    event = world.ask(QUESTION)
    assert (event.outcome, event.reason, event.text) == ("failed", "retrieval_failed", "")


def test_beyond_the_access_lag_only_documents_for_everyone(tmp_path: Path) -> None:
    """With a view that may have missed a revocation even the operator gets public documents only."""
    world = World(tmp_path, max_access_lag_s=0.3)
    world.upsert("public", 1, PIN)
    world.upsert("hr", 1, "HR staff change a card PIN at the desk.", ("group:hr",))
    assert found(world.ask("HR staff card PIN change", "group:hr")) == {"hr", "public"}
    world.log.is_away = True
    wait_until(lambda: (world.view.access_lag_s() or 0) > 0.3, within_s=10, what="the view to be too old")
    event = world.ask("HR staff card PIN change", "group:hr", OPERATOR)
    assert found(event) == {"public"}
    assert event.degraded == ("access_lag",)
    world.close()


# -- requests that end early


def test_an_expired_request_is_not_worked_on(world: World) -> None:
    """A deadline that has passed: `expired`, and no store was asked."""
    event = world.ask(QUESTION, deadline_s=0)
    assert (event.outcome, event.mode) == ("expired", "static")
    assert world.vectors.limits == []


def test_an_unknown_index_is_rejected_with_the_known_ones(world: World) -> None:
    """The error names what there is."""
    event = world.ask(QUESTION, indexes=("hr",))
    assert (event.outcome, event.reason) == ("rejected", "unknown_index")
    assert "docs" in (event.error or "")


def test_own_writes_are_waited_for(world: World) -> None:
    """A token of a change that comes in time is waited for; of one that does not, the answer is `not_yet`."""
    log_id = world.log.identity(world.settings.kafka.topics.documents)
    token = str(WriteToken(log_id, 0, 0, DocKey("docs", "pin")))
    assert world.ask(QUESTION, after=(token,), deadline_s=0.2).reason == "not_yet"
    records = world.writer.upsert(DocKey("docs", "pin"), 1, PIN, PUBLIC)
    world.write_rows(records)
    timer = threading.Timer(0.2, lambda: world.publish(records, is_awaited=False))
    timer.start()
    assert world.ask(QUESTION, after=(token,)).outcome == "answered"
    timer.join()


def test_a_token_that_can_not_be_read_is_rejected(world: World) -> None:
    """Garbage in `after` is the caller's mistake."""
    assert world.ask(QUESTION, after=("garbage",)).outcome == "rejected"


def test_a_defect_is_an_answer_too(tmp_path: Path) -> None:
    """An unexpected exception in a step ends in a `failed` event without its details."""

    class Broken(ExtractiveAnswerer):
        async def answer(self, asking: Asking, deadline: Deadline, emit: Emit) -> Draft:
            raise RuntimeError(asking.question)

    world = World(tmp_path, Broken())
    world.upsert("pin", 1, PIN)
    event = world.ask(QUESTION)
    assert (event.outcome, event.reason) == ("failed", "internal_error")
    assert QUESTION not in (event.error or "")
    world.close()


# -- the voice: pieces, attempts, models that fail


class Scripted(ExtractiveAnswerer):
    """Says the pieces it is told to, one attempt after the other; an exception among them is raised."""

    def __init__(self, *attempts: list[str | Exception]) -> None:
        self.attempts = list(attempts)
        self.between: Callable[[], object] = lambda: None

    async def answer(self, asking: Asking, deadline: Deadline, emit: Emit) -> Draft:
        said = ""
        for piece in self.attempts.pop(0):
            if isinstance(piece, Exception):
                raise piece
            await emit(piece)
            said += piece
            self.between()
        return Draft(said, tuple(passage.citation(n) for n, passage in enumerate(asking.passages, start=1)))


def said(world: World) -> list[tuple[int, int, str]]:
    return [(delta.attempt, delta.seq, delta.delta) for delta in world.deltas]


def test_deltas_come_numbered_and_the_final_event_holds_all(tmp_path: Path) -> None:
    """The pieces joined are the text of the final event, which comes after them."""
    world = World(tmp_path, Scripted(["At a cash ", "machine. [1]"]))
    world.upsert("pin", 1, PIN)
    event = world.ask(QUESTION)
    assert said(world) == [(1, 0, "At a cash "), (1, 1, "machine. [1]")]
    assert (event.text, event.kind, event.attempt, event.seq) == ("At a cash machine. [1]", "final", 1, 2)
    world.close()


def test_revoked_before_the_first_byte_nothing_of_it_is_said(tmp_path: Path) -> None:
    """Access goes between the check and the model's first token: not one piece leaves, and the other document answers."""
    answerer = Scripted(["From the secret. "], ["From the other. "])
    world = World(tmp_path, answerer)
    world.upsert("pin", 1, PIN)
    world.upsert("other", 1, "A card PIN is four digits; ask support how to change it.")
    select = answerer.select

    def revoking(question: str, passages: list) -> list:  # type: ignore[type-arg]
        chosen = select(question, passages)
        answerer.select = select  # type: ignore[method-assign]
        world.access("pin", 2, ("group:hr",))
        return chosen

    answerer.select = revoking  # type: ignore[assignment,method-assign]
    event = world.ask(QUESTION)
    assert said(world) == [(1, 0, "From the other. ")]
    assert cited(event) == [("other", 1)]
    world.close()


def test_withdrawn_while_speaking_a_new_attempt_voids_what_was_said(tmp_path: Path) -> None:
    """A delete in the middle of the stream: the rest is of attempt 2, and the final event too."""
    answerer = Scripted(["Old ", "text."], ["New text."])
    world = World(tmp_path, answerer)
    world.upsert("pin", 1, PIN)
    world.upsert("other", 1, "A card PIN is four digits; ask support how to change it.")
    world.on_delta = lambda delta: world.delete("pin", 2) if delta.delta == "Old " else None
    event = world.ask(QUESTION)
    assert said(world)[-1] == (2, 0, "New text.")
    assert (event.attempt, event.text, event.outcome) == (2, "New text.", "answered")
    assert cited(event) == [("other", 1)]
    world.close()


def test_a_model_that_fails_gives_the_static_message_with_the_passages(tmp_path: Path) -> None:
    """Nobody is told `I don't know` for a model's failure."""
    world = World(tmp_path, Scripted([GenerationFailed("model_unavailable", "connection refused")]))
    world.upsert("pin", 1, PIN)
    event = world.ask(QUESTION)
    assert (event.outcome, event.mode, event.degraded) == ("answered", "static", ("model_unavailable",))
    assert event.text.startswith(STATIC_TEXT)
    assert cited(event) == [("pin", 1)]
    world.close()


def test_a_stream_that_breaks_off_is_taken_back(tmp_path: Path) -> None:
    """Half an answer is never left standing: the final event is of a new attempt."""
    world = World(tmp_path, Scripted(["You can ", GenerationFailed("model_interrupted", "reset")]))
    world.upsert("pin", 1, PIN)
    event = world.ask(QUESTION)
    assert said(world) == [(1, 0, "You can ")]
    assert (event.attempt, event.mode, event.degraded) == (2, "static", ("model_interrupted",))
    world.close()


def test_a_model_that_hangs_leaves_time_to_say_so(tmp_path: Path) -> None:
    """The static message comes before the deadline does."""

    class Hanging(ExtractiveAnswerer):
        async def answer(self, asking: Asking, deadline: Deadline, emit: Emit) -> Draft:
            await asyncio.Event().wait()
            raise AssertionError

    world = World(tmp_path, Hanging())
    world.upsert("pin", 1, PIN)
    event = world.ask(QUESTION, deadline_s=0.6)
    assert (event.mode, event.degraded) == ("static", ("model_timeout",))
    assert (event.took_ms or 1e9) < 600
    world.close()


def test_the_unknown_sentence_of_a_model_is_unknown(tmp_path: Path) -> None:
    """A model that finds the passages wanting is taken at its word."""
    world = World(tmp_path, Scripted([UNKNOWN_ANSWER]))
    world.upsert("pin", 1, PIN)
    event = world.ask(QUESTION)
    assert (event.outcome, event.text, event.citations) == ("unknown", UNKNOWN_ANSWER, ())
    world.close()


def test_who_wants_no_stream_gets_the_final_event_alone(world: World) -> None:
    """`stream: false`."""
    world.upsert("pin", 1, PIN)
    assert world.ask(QUESTION, stream=False).text == f"{PIN} [1]"
    assert world.deltas == []


def test_every_event_says_mode_and_freshness(world: World) -> None:
    """Refusals and expiries too: who asks can always tell how old the view is."""
    for over in ({"indexes": ("hr",)}, {"deadline_s": 0}, {}):
        event = world.ask(QUESTION, **over)
        assert event.mode is not None
        assert event.as_of is not None


def test_access_is_looked_at_while_the_answer_is_said(tmp_path: Path) -> None:
    """A model that speaks for long: once the document is revoked, nothing more of it leaves."""

    ticks = [0.0]
    world = World(tmp_path, Scripted(["One ", "two ", "three."], ["Other."]))
    world.upsert("pin", 1, PIN)
    world.upsert("other", 1, "A card PIN is four digits; ask support how to change it.")

    def revoke(delta: AnswerEvent) -> None:
        ticks.append(1.0)
        if delta.delta == "One ":
            world.access("pin", 2, ("group:hr",))

    world.on_delta = revoke
    request = QueryRequest(query_id="q", question=QUESTION)
    deadline = Deadline(1_000.0, lambda: sum(ticks))
    event = asyncio.run(world.pipeline.answer(request, deadline, world.listen))
    assert [piece for attempt, _, piece in said(world) if attempt == 1] == ["One "]
    assert cited(event) == [("other", 1)]
    world.close()


def test_a_repeated_question_after_a_models_outage_is_answered_afresh(tmp_path: Path) -> None:
    """The static message is no answer to keep."""
    failing = Scripted([GenerationFailed("model_unavailable", "away")], ["At a machine. [1]"])
    world = World(tmp_path, failing, repeats=Repeats(MemoryStore(), 600))
    world.upsert("pin", 1, PIN)
    assert world.ask(QUESTION).mode == "static"
    assert world.ask(QUESTION).text == "At a machine. [1]"
    world.close()


def test_what_is_revoked_during_the_second_look_is_not_found(world: World) -> None:
    """Passages are looked at again after the reranker, explanations too."""
    world.upsert("pin", 1, PIN)
    world.upsert("form", 1, "Staff change a card PIN with form nine.")

    class Slow:
        """A reranker during whose work access goes."""

        def __init__(self) -> None:
            self.version = 1

        def load(self) -> None:
            """There is nothing to load."""

        def scores(self, question: str, texts: Sequence[str]) -> list[float]:
            self.version += 1
            world.access("form", self.version, ("group:hr",))
            return [1.0] * len(texts)

        def close(self) -> None:
            """Nothing is held."""

    world.retriever._second_look = SecondLook(Slow(), 10)
    request = QueryRequest(query_id="q", question=QUESTION, explain=True)
    event = asyncio.run(world.pipeline.search(request, Deadline.after(5)))
    assert {citation.doc_id for citation in event.citations} == {"pin"}
    assert found(event) == {"pin"}


def test_what_is_revoked_before_too_little_is_found_is_not_explained(tmp_path: Path) -> None:
    """Access goes during the second look; the explanation of "I don't know" doesn't name what it went from."""
    world = World(tmp_path, min_support=1.0)
    world.upsert("pin", 1, PIN)
    world.upsert("form", 1, "Staff change a card PIN with form nine.")

    class Slow:
        """A reranker during whose work access goes."""

        def load(self) -> None:
            """There is nothing to load."""

        def scores(self, question: str, texts: Sequence[str]) -> list[float]:
            world.access("form", 2, ("group:hr",))
            return [1.0] * len(texts)

        def close(self) -> None:
            """Nothing is held."""

    world.retriever._second_look = SecondLook(Slow(), 10)
    event = world.ask(QUESTION)
    world.close()
    assert event.outcome == "unknown"
    assert "form" not in found(event)


def test_what_is_revoked_before_a_model_knows_nothing_is_not_explained(tmp_path: Path) -> None:
    """The same while a model works, that then says it doesn't know."""

    class Ignorant(ExtractiveAnswerer):
        """Takes its time, during which access goes."""

        during: Callable[[], object]

        async def answer(self, asking: Asking, deadline: Deadline, emit: Emit) -> Draft:
            self.during()
            return Draft(UNKNOWN_ANSWER, ())

    answerer = Ignorant()
    world = World(tmp_path, answerer)
    answerer.during = lambda: world.access("form", 2, ("group:hr",))
    world.upsert("pin", 1, PIN)
    world.upsert("form", 1, "Staff change a card PIN with form nine.")
    event = world.ask(QUESTION)
    world.close()
    assert event.outcome == "unknown"
    assert "form" not in found(event)


def test_word_counts_over_hidden_documents_are_not_told(world: World) -> None:
    """BM25's own figures depend on how many documents hold a word, hidden ones too: only operators see them."""
    world.upsert("pin", 1, PIN)
    for number in range(5):
        world.upsert(f"secret{number}", 1, f"The vault's card PIN number {number}.", ("group:vault",))
    told = world.ask(QUESTION).explanation
    whole = world.ask(QUESTION, OPERATOR).explanation
    assert told is not None
    assert whole is not None
    assert [candidate.keyword_score for candidate in told.candidates] == [1.0]
    assert max(candidate.keyword_score or 0.0 for candidate in whole.candidates) != 1.0


def test_what_cannot_come_again_is_not_kept_for_that(tmp_path: Path) -> None:
    """An id that was made up for the query is known to nobody who could send it again."""
    store = MemoryStore()
    world = World(tmp_path, repeats=Repeats(store, 600))
    world.upsert("pin", 1, PIN)
    request = QueryRequest(query_id="q", question=QUESTION)
    first = run(world.pipeline.answer(request, Deadline.after(5.0), may_come_again=False))
    assert (first.outcome, len(store)) == ("answered", 0)
    run(world.pipeline.answer(request, Deadline.after(5.0)))
    assert len(store) == 1
    world.close()
