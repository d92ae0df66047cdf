//! The live stream: resumed without gaps or repeats, woken at a commit, bounded.

use engine::stream::{Frame, STREAMS_PER_TENANT_MAX, Subscription};
use futures_util::FutureExt as _;
use model::EventId;
use serde_json::json;
use testkit::{Stage, TestDb, World};

use crate::setting::{code, column, pointers};

async fn stage(db: &TestDb) -> Stage {
    let stage = Stage::in_world(World::new(db)).await;
    stage.account("sandbox", json!({}), None).await;
    stage
}

async fn send(stage: &Stage) {
    stage.send(json!({ "to": { "phone": "+4915112345678" }, "channel": "sms", "content": { "text": "Hello" } })).await;
}

async fn subscribe(stage: &Stage, after: Option<EventId>, filters: &[&str]) -> Result<Subscription, engine::Error> {
    let filters: Vec<_> = filters.iter().map(|filter| (*filter).to_owned()).collect();
    let mut stream = stage.engine.subscribe(&stage.caller, after, &filters).await?;
    if after.is_none() {
        assert!(matches!(stream.next().await, Some(Frame::Start { .. })));
    }
    Ok(stream)
}

/// Takes what is there now: hints and looks included, as a second passes.
pub async fn drain(stage: &Stage, stream: &mut Subscription) -> Vec<Frame> {
    let mut frames = Vec::new();
    for _ in 0..4 {
        while let Some(frame) = settled(stage, stream).await {
            frames.push(frame);
        }
        stage.world.clock.advance_ms(500);
    }
    frames.retain(|frame| !matches!(frame, Frame::Start { .. } | Frame::Heartbeat));
    frames
}

/// The next frame, unless the stream waits for time to pass or for news. The database answers in its own time, which the test's clock does not measure: a stream
/// that is silent while the database answers us many times over has nothing to tell.
async fn settled(stage: &Stage, stream: &mut Subscription) -> Option<Frame> {
    let mut next = std::pin::pin!(stream.next());
    for _ in 0..1_000 {
        if let Some(frame) = next.as_mut().now_or_never() {
            return frame;
        }
        let version = stage.world.ports.db.read(store::Scope::System, |tx| Box::pin(store::tenants::version(tx)));
        version.await.unwrap();
    }
    None
}

fn ids(frames: &[Frame]) -> Vec<EventId> {
    let id = |frame: &Frame| match frame {
        Frame::Event { id, .. } => Some(*id),
        Frame::Start { .. } | Frame::Reset | Frame::Heartbeat => None,
    };
    frames.iter().filter_map(id).collect()
}

pub fn kinds(frames: &[Frame]) -> Vec<&str> {
    let mut kinds = Vec::new();
    for frame in frames {
        kinds.push(match frame {
            Frame::Event { event, .. } => event.as_str(),
            Frame::Start { .. } => "start",
            Frame::Reset => "reset",
            Frame::Heartbeat => "heartbeat",
        });
    }
    kinds
}

testkit::both! {
    async fn what_happens_between_a_look_and_its_stream_is_told(db: TestDb) {
        let stage = stage(&db).await;
        for _ in 0..2 {
            let seen = stage.engine.newest_event(&stage.caller).await.unwrap();
            send(&stage).await;
            let mut stream = subscribe(&stage, Some(seen), &[]).await.unwrap();
            assert_eq!(kinds(&drain(&stage, &mut stream).await), ["message.accepted"]);
        }
    }

    async fn a_stream_tells_what_happens_from_now_on(db: TestDb) {
        let stage = stage(&db).await;
        send(&stage).await;
        stage.dispatch().await;
        let mut stream = subscribe(&stage, None, &[]).await.unwrap();
        assert_eq!(drain(&stage, &mut stream).await, []);
        send(&stage).await;
        stage.dispatch().await;
        let frames = drain(&stage, &mut stream).await;
        assert_eq!(kinds(&frames), ["message.accepted", "message.sent"]);
        let Frame::Event { id, data, .. } = &frames[0] else { panic!("an event") };
        let body: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!((body["type"].as_str(), body["id"].as_str()), (Some("message.accepted"), Some(id.to_string().as_str())));
        assert_eq!(frames[0].to_wire(), format!("id: {id}\nevent: message.accepted\ndata: {data}\n\n"));
    }

    async fn a_reader_that_comes_back_misses_and_repeats_nothing(db: TestDb) {
        let stage = stage(&db).await;
        let mut stream = subscribe(&stage, None, &[]).await.unwrap();
        let (mut seen, mut last) = (Vec::new(), None);
        for round in 0..6 {
            for _ in 0..30 {
                send(&stage).await;
            }
            stage.dispatch().await;
            // Reads a part of it and goes away in the middle of a page.
            for _ in 0..20 + round {
                let frame = settled(&stage, &mut stream).await.unwrap();
                seen.extend(ids(&[frame]));
            }
            last = seen.last().copied().or(last);
            drop(stream);
            stage.world.clock.advance_ms(5_000);
            stream = subscribe(&stage, last, &[]).await.unwrap();
        }
        seen.extend(ids(&drain(&stage, &mut stream).await));
        let all = column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM events").await;
        assert_eq!(seen.len().to_string(), all);
        let mut once = seen.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), seen.len());
    }

    async fn a_reader_cut_off_before_its_first_event_can_go_on(db: TestDb) {
        let stage = stage(&db).await;
        for _ in 0..2 {
            let mut stream = stage.engine.subscribe(&stage.caller, None, &[]).await.unwrap();
            let Some(Frame::Start { id }) = stream.next().await else { panic!("a start") };
            assert_eq!(Frame::Start { id }.to_wire(), format!("id: {id}\n\n"));
            drop(stream);
            send(&stage).await;
            let mut stream = subscribe(&stage, Some(id), &[]).await.unwrap();
            assert_eq!(kinds(&drain(&stage, &mut stream).await), ["message.accepted"]);
        }
    }

    async fn a_commit_wakes_the_stream(db: TestDb) {
        let stage = stage(&db).await;
        let mut stream = subscribe(&stage, None, &[]).await.unwrap();
        assert_eq!(settled(&stage, &mut stream).await, None);
        stage.world.clock.advance_ms(30);
        send(&stage).await;
        // No second passes: it is the hint that wakes.
        assert!(matches!(settled(&stage, &mut stream).await, Some(Frame::Event { event, .. }) if event == "message.accepted"));
    }

    async fn events_of_other_nodes_are_seen_within_a_second(db: TestDb) {
        let mut stage = stage(&db).await;
        let mut stream = subscribe(&stage, None, &[]).await.unwrap();
        assert_eq!(settled(&stage, &mut stream).await, None);
        stage.restart();
        send(&stage).await;
        assert_eq!(settled(&stage, &mut stream).await, None);
        assert_eq!(kinds(&drain(&stage, &mut stream).await), ["message.accepted"]);
    }

    async fn filters_choose(db: TestDb) {
        let stage = stage(&db).await;
        let mut stream = subscribe(&stage, None, &["message.sent", "account.*"]).await.unwrap();
        send(&stage).await;
        stage.dispatch().await;
        assert_eq!(kinds(&drain(&stage, &mut stream).await), ["message.sent"]);
        assert_eq!(pointers(subscribe(&stage, None, &["message.lost"]).await.map(drop)), ["/events/0"]);
    }

    async fn an_unknown_place_begins_with_the_oldest_event(db: TestDb) {
        let stage = stage(&db).await;
        send(&stage).await;
        let unknown = EventId::from_ulid(stage.world.ports.ids.ulid(stage.world.ports.clock.now()));
        for id in [unknown, EventId::from_ulid(1), EventId::from_ulid(u128::MAX)] {
            let mut stream = subscribe(&stage, Some(id), &[]).await.unwrap();
            assert_eq!(kinds(&drain(&stage, &mut stream).await), ["reset", "message.accepted"]);
        }
    }

    async fn silence_is_broken_every_fifteen_seconds(db: TestDb) {
        let stage = stage(&db).await;
        let mut stream = subscribe(&stage, None, &[]).await.unwrap();
        for _ in 0..14 {
            assert_eq!(settled(&stage, &mut stream).await, None);
            stage.world.clock.advance_ms(1_000);
        }
        assert_eq!(settled(&stage, &mut stream).await, None);
        stage.world.clock.advance_ms(1_000);
        assert_eq!(settled(&stage, &mut stream).await, Some(Frame::Heartbeat));
        assert_eq!(settled(&stage, &mut stream).await, None);
    }

    async fn a_stream_ends_so_that_its_reader_signs_in_again(db: TestDb) {
        let stage = stage(&db).await;
        let mut stream = subscribe(&stage, None, &[]).await.unwrap();
        assert_eq!(settled(&stage, &mut stream).await, None);
        stage.world.clock.advance_ms(14 * 60_000);
        assert_eq!(settled(&stage, &mut stream).await, Some(Frame::Heartbeat));
        stage.world.clock.advance_ms(60_000);
        assert_eq!(stream.next().await, None);
    }

    async fn streams_are_counted_and_end_with_the_program(db: TestDb) {
        let stage = stage(&db).await;
        let mut streams = Vec::new();
        for _ in 0..STREAMS_PER_TENANT_MAX {
            streams.push(subscribe(&stage, None, &[]).await.unwrap());
        }
        let one_more = subscribe(&stage, None, &[]).await.map(drop);
        assert_eq!(one_more.as_ref().map_err(|error| error.kind.status()), Err(429));
        assert_eq!(code(one_more), "too_many_streams");
        streams.pop();
        streams.push(subscribe(&stage, None, &[]).await.unwrap());
        stage.engine.wakers.close();
        for stream in &mut streams {
            assert_eq!(stream.next().await, None);
        }
        drop(streams);
        assert!(stage.engine.wakers.is_empty());
        assert_eq!(code(subscribe(&stage, None, &[]).await.map(drop)), "stopping");
    }

    async fn old_events_are_forgotten(db: TestDb) {
        let stage = stage(&db).await;
        send(&stage).await;
        stage.world.clock.advance_ms(6 * 86_400_000);
        send(&stage).await;
        let now = || stage.world.ports.clock.now();
        assert_eq!(stage.engine.purge_events(now()).await, Ok(0));
        stage.world.clock.advance_ms(86_400_001);
        assert_eq!(stage.engine.purge_events(now()).await, Ok(1));
        assert_eq!(stage.engine.purge_events(now()).await, Ok(0));
    }
}
