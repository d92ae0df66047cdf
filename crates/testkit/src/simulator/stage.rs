//! The scene of a run: its tenants and accounts, and the processes that come and go.

use engine::{keys::Caller, once::Repeat};
use model::AccountId;
use serde_json::{Value, json};

use super::{
    Result, Simulation, broken,
    client::{Account, Tenant},
    laws::WORKS,
    node::{self, Node},
};

impl Simulation {
    /// Starts the first process, which makes the tenants and their accounts.
    pub(super) fn found(&mut self) -> Result {
        self.start_node(0)?;
        let count = 2 + self.below(2);
        for number in 0..count {
            let node = &self.nodes[0];
            let new =
                serde_json::from_value(json!({ "name": format!("Tenant {number}") })).expect("a tenant's request");
            let reply = node
                .run(engine::tenants::create(node.engine.parts(), &Caller::system(None), &Repeat::NONE, new))
                .map_err(|error| broken(WORKS, error.detail))?;
            let id = id_in(&reply.body).parse().expect("the id of a tenant");
            self.tenants.push(Tenant { id, caller: Caller::system(Some(id)) });
            self.add_account(0, number, "twilio")?;
            let mail = ["smtp", "resend", "resend"][self.below(3)];
            self.add_account(0, number, mail)?;
            if self.one_in(2) {
                self.add_account(0, number, "sandbox")?;
            }
            if self.one_in(3) {
                self.add_account(0, number, ["twilio", "resend", "smtp"][self.chance.below(3) as usize])?;
            }
        }
        if self.setup.is_billed {
            self.bill()?;
        }
        if self.setup.is_routed {
            self.lay_routes()?;
        }
        Ok(())
    }

    /// Gives a tenant one more account.
    pub(super) fn add_account(&mut self, node: usize, tenant: usize, connector: &'static str) -> Result {
        use base64::Engine as _;
        let number = self.accounts.len();
        let key = format!("secret of account number {number:08}");
        let (settings, from, name_there) = match connector {
            "twilio" => {
                let sid = format!("AC{number:032}");
                (json!({ "account_sid": sid, "auth_token": key }), Some("+15550100001"), sid)
            }
            "resend" => {
                let (api_key, secret) =
                    (format!("re_{number:08}"), base64::engine::general_purpose::STANDARD.encode(&key));
                let settings = json!({ "api_key": api_key, "webhook_secret": format!("whsec_{secret}") });
                (settings, Some("Acme <acme@example.com>"), format!("Bearer {api_key}"))
            }
            "smtp" => {
                let host = format!("mail{number}.example.com");
                let settings = json!({ "host": host, "port": 25, "security": "none" });
                (settings, Some("Acme <acme@example.com>"), host)
            }
            _ => (json!({}), None, String::new()),
        };
        let per_second = self.one_in(4).then(|| 1 + self.below(5) as u32);
        let mut new = json!({ "name": format!("Account {number}"), "connector": connector, "settings": settings });
        if let Some(from) = from {
            new["from"] = from.into();
        }
        if let Some(per_second) = per_second {
            new["per_second"] = per_second.into();
        }
        if connector == "sandbox" {
            new["default_for"] = json!([]);
        }
        let new = serde_json::from_value(new).expect("an account's request");
        let (node, owner) = (&self.nodes[node], &self.tenants[tenant]);
        let made = node.run(engine::accounts::create(node.engine.parts(), &owner.caller, &Repeat::NONE, new));
        let made = made.map_err(|error| broken(WORKS, error.detail))?;
        let id: AccountId = id_in(&made.body).parse().expect("the id of an account");
        self.accounts.push(Account { id, tenant, connector, name_there, secret: key, per_second, is_deleted: false });
        self.note(format_args!("tenant {tenant} has account a{number} at {connector}, {per_second:?} a second"));
        Ok(())
    }

    /// Starts a process and does what a server does first.
    pub(super) fn start_node(&mut self, skew_ms: i64) -> Result {
        self.nodes_started += 1;
        let node = Node::start(&self.outside, self.nodes_started, skew_ms);
        self.note(format_args!("process {} starts, its clock off by {skew_ms} ms", node.number));
        let is_alone = !self.is_shared;
        let begun = node.run(async {
            engine::recovery::beat(&node.engine).await?;
            if is_alone {
                engine::recovery::recover(&node.engine, true).await?;
            }
            Ok::<_, engine::Error>(())
        });
        begun.map_err(|error| broken(WORKS, format!("{error:?}")))?;
        self.nodes.push(node);
        Ok(())
    }

    /// A process dies, and another begins in its place if it was the last.
    pub(super) fn crash(&mut self, index: usize) -> Result {
        let node = self.nodes.remove(index);
        self.summary.deaths += 1;
        self.note(format_args!("process {} dies", node.number));
        drop(node);
        if self.setup.on == super::On::Sqlite {
            self.runtime.block_on(node::barrier(&self.db));
        }
        if self.nodes.is_empty() {
            self.start_node(0)?;
        }
        Ok(())
    }

    /// A process that is awake. There is always one: the last to sleep is woken.
    pub(super) fn awake(&mut self) -> usize {
        let awake: Vec<usize> = (0..self.nodes.len()).filter(|i| self.nodes[*i].asleep_until <= self.step).collect();
        if awake.is_empty() {
            let index = self.below(self.nodes.len());
            self.nodes[index].asleep_until = 0;
            return index;
        }
        awake[self.below(awake.len())]
    }
}

/// The `id` in an answer.
fn id_in(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).expect("an answer is JSON");
    json["id"].as_str().expect("it has an id").to_owned()
}
