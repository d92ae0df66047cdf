//! Floors of the databases: how many rows shaped like a message, with its three indexes, they take in a second, in commits of 1, 100 and 1,000, and how
//! often the disk can be waited for. Written with the drivers alone, so that our own code has a ceiling to be held against.

use std::{fs::File, io::Write as _, sync::Arc};

use anyhow::Context as _;
use rusqlite::params;
use tokio_postgres::types::ToSql;

use super::{
    clock::{now_us, seconds},
    report::Phase,
    room::Room,
};

/// Time for each floor, in microseconds: long enough to reach a checkpoint, short enough for eight of them.
const FLOOR_US: u64 = 1_000_000;
/// Rows in a commit.
const BATCHES: [usize; 3] = [1, 100, 1_000];
/// Connections that insert at the same time into PostgreSQL.
const CLIENTS: usize = 8;
/// What a message row weighs besides its keys, in bytes.
const BODY: &str = "Your Acme code is 00000000. It is valid for ten minutes. Never share it; we will not ask for it. {\"order\":\"00000000\",\"campaign\":\"none\"}";

const TABLE: &str = "CREATE TABLE floor (tenant {BYTES} NOT NULL, id {BYTES} NOT NULL, status BIGINT NOT NULL, address TEXT NOT NULL, account {BYTES} NOT NULL, body TEXT NOT NULL,
     due_at BIGINT, created_at BIGINT NOT NULL, PRIMARY KEY (tenant, id)) {CLUSTERED};
     CREATE INDEX floor_address ON floor (tenant, address, id);
     CREATE INDEX floor_due ON floor (account, due_at) WHERE due_at IS NOT NULL;
     CREATE INDEX floor_status ON floor (tenant, status, id);";
const INSERT: &str = "INSERT INTO floor (tenant, id, status, address, account, body, due_at, created_at) ";

/// Rows a second in commits of 1, 100 and 1,000, in this order.
pub async fn floors(room: &Room) -> anyhow::Result<Vec<Phase>> {
    match room.engine() {
        "postgres" => postgres(room, &BATCHES).await,
        _ => sqlite(room, &BATCHES).await,
    }
}

/// Rows a second in commits of 1,000: the ceiling of everything that writes a row per message.
pub async fn ceiling(room: &Room) -> anyhow::Result<Phase> {
    let phases = match room.engine() {
        "postgres" => postgres(room, &[1_000]).await?,
        _ => sqlite(room, &[1_000]).await?,
    };
    phases.into_iter().next().context("one size of commit gives one floor")
}

async fn sqlite(room: &Room, batches: &'static [usize]) -> anyhow::Result<Vec<Phase>> {
    let path = room.directory().join("floor.db");
    tokio::task::spawn_blocking(move || {
        let mut connection = rusqlite::Connection::open(&path)?;
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -32768;")?;
        connection.execute_batch(&TABLE.replace("{BYTES}", "BLOB").replace("{CLUSTERED}", "WITHOUT ROWID"))?;
        let mut next = 0;
        let mut phases = Vec::new();
        for batch in batches {
            let (began, mut rows) = (now_us(), 0);
            while now_us() - began < FLOOR_US {
                let transaction = connection.transaction()?;
                {
                    let mut insert =
                        transaction.prepare_cached(&format!("{INSERT} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"))?;
                    for _ in 0..*batch {
                        let row = Row::new(next);
                        insert.execute(params![row.tenant, row.id, 1, row.address, row.account, BODY, row.at, row.at])?;
                        next += 1;
                    }
                }
                transaction.commit()?;
                rows += *batch as u64;
            }
            phases.push(Phase::new(name("SQLite", *batch), rows, seconds(began, now_us())));
        }
        drop(connection);
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
        Ok(phases)
    })
    .await?
}

async fn postgres(room: &Room, batches: &[usize]) -> anyhow::Result<Vec<Phase>> {
    let table = TABLE.replace("{BYTES}", "BYTEA").replace("{CLUSTERED}", "");
    let first = room.connect().await?;
    first.batch_execute(&table).await?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Arc::new(room.connect().await?));
    }
    let mut phases = Vec::new();
    for batch in batches {
        // As many writers as the engine has, but for single rows, which live on company.
        let writers = if *batch == 1 { CLIENTS } else { CLIENTS / 2 };
        let began = now_us();
        let mut tasks = tokio::task::JoinSet::new();
        for (index, client) in clients.iter().take(writers).enumerate() {
            tasks.spawn(fill(Arc::clone(client), *batch, (index as u64) << 48 | (*batch as u64) << 32, began));
        }
        let mut rows = 0;
        while let Some(filled) = tasks.join_next().await {
            rows += filled??;
        }
        phases.push(Phase::new(name("PostgreSQL", *batch), rows, seconds(began, now_us())));
    }
    first.batch_execute("DROP TABLE floor").await?;
    Ok(phases)
}

/// Inserts until the time is over; answers how many rows.
async fn fill(client: Arc<tokio_postgres::Client>, batch: usize, from: u64, began: u64) -> anyhow::Result<u64> {
    let arrays = "SELECT * FROM UNNEST($1::BYTEA[], $2::BYTEA[], $3::BIGINT[], $4::TEXT[], $5::BYTEA[], $6::TEXT[], $7::BIGINT[], $8::BIGINT[])";
    let insert = client.prepare(&format!("{INSERT} {arrays}")).await?;
    let mut next = from;
    while now_us() - began < FLOOR_US {
        let rows: Vec<Row> = (next..next + batch as u64).map(Row::new).collect();
        let tenants: Vec<&[u8]> = rows.iter().map(|row| row.tenant.as_slice()).collect();
        let ids: Vec<&[u8]> = rows.iter().map(|row| row.id.as_slice()).collect();
        let statuses = vec![1_i64; batch];
        let addresses: Vec<&str> = rows.iter().map(|row| row.address.as_str()).collect();
        let accounts: Vec<&[u8]> = rows.iter().map(|row| row.account.as_slice()).collect();
        let bodies = vec![BODY; batch];
        let times: Vec<i64> = rows.iter().map(|row| row.at).collect();
        let params: [&(dyn ToSql + Sync); 8] =
            [&tenants, &ids, &statuses, &addresses, &accounts, &bodies, &times, &times];
        client.execute(&insert, &params).await?;
        next += batch as u64;
    }
    Ok(next - from)
}

/// A row's values: ids that rise as ours do, addresses in no order.
struct Row {
    tenant: [u8; 16],
    id: [u8; 16],
    account: [u8; 16],
    address: String,
    at: i64,
}

impl Row {
    fn new(number: u64) -> Self {
        let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self {
            tenant: [7; 16],
            id: ((u128::from(number) << 64) | u128::from(scattered)).to_be_bytes(),
            account: [9; 16],
            address: format!("+49{:011}", scattered % 100_000_000_000),
            at: 1_700_000_000_000_000 + number as i64,
        }
    }
}

fn name(engine: &str, batch: usize) -> String {
    format!("{engine} rows, {batch} a commit")
}

/// How often a page can be appended and waited for.
pub async fn syncs(room: &Room) -> anyhow::Result<Phase> {
    let path = room.directory().join("floor.log");
    tokio::task::spawn_blocking(move || {
        let mut file = File::create(&path)?;
        let (page, began, mut count) = ([7_u8; 4096], now_us(), 0);
        while now_us() - began < FLOOR_US {
            file.write_all(&page)?;
            file.sync_data()?;
            count += 1;
        }
        let phase = Phase::new("append 4 KiB and fdatasync", count, seconds(began, now_us()));
        std::fs::remove_file(&path)?;
        Ok(phase)
    })
    .await?
}
