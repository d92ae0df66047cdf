//! `tidings user`.

use clap::Subcommand;
use engine::{
    access::users::{self, MemberView, NewMember},
    keys::Caller,
};
use model::{Secret, TenantId};
use serde_json::json;

use crate::{
    cli::{Failure, Outcome, put, put_json, put_table, say},
    config::Config,
    node,
};

/// What can be done with people.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Make somebody a member of a tenant, or one of the operator's staff; a new person's password is shown this once
    #[command(
        after_help = "Examples:\n  tidings user create --email ada@example.com --tenant ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD --role owner\n  tidings user create --email grace@example.com --operator"
    )]
    Create {
        #[command(flatten)]
        place: Place,
        /// E-mail address: how they sign in
        #[arg(long)]
        email: String,
        /// Name for people
        #[arg(long)]
        name: Option<String>,
        /// owner, admin, member or viewer; with --operator admin, support or sales [default: member, or admin with --operator]
        #[arg(long)]
        role: Option<String>,
        /// Permissions beyond the role, separated by commas
        #[arg(long, value_delimiter = ',')]
        permissions: Option<Vec<String>>,
    },
    /// List the people of a tenant, or the operator's staff, newest first
    #[command(after_help = "Example:\n  tidings user list --operator")]
    List {
        #[command(flatten)]
        place: Place,
        /// How many, 1 to 500
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Make a link with which somebody sets a new password, to hand over; it is good for an hour
    #[command(after_help = "Example:\n  tidings user reset --email ada@example.com")]
    Reset {
        /// E-mail address
        #[arg(long)]
        email: String,
    },
}

/// Where they belong.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// To a tenant
    #[arg(long, value_name = "ten_…")]
    tenant: Option<TenantId>,
    /// To the operator's staff
    #[arg(long)]
    operator: bool,
}

/// Runs one of them on the database itself.
pub async fn run(config: &Config, command: User, json: bool) -> Outcome {
    let engine = node::admin(config).await?;
    let parts = engine.parts();
    match command {
        User::Create { place, email, name, role, permissions } => {
            let caller = place.caller(parts).await?;
            let role = role.unwrap_or_else(|| if place.operator { "admin" } else { "member" }.to_owned());
            let made = users::make(parts, &caller, NewMember { email, name, role, permissions }).await?;
            let password = made.password.as_ref().map(Secret::reveal);
            if json {
                return put_json(&json!({"user": made.view, "password": password}));
            }
            say(&format!("{} is {} ({}).", made.view.email, made.view.role, made.view.id));
            match password {
                Some(password) => {
                    say("Their password, shown this once:");
                    put(password);
                }
                None => say("They have a password already and sign in with that."),
            }
        }
        User::List { place, limit, cursor } => {
            let caller = place.caller(parts).await?;
            let page = users::list(parts, &caller, Some(limit), cursor.as_deref()).await?;
            if json {
                return put_json(&page);
            }
            put_table(["ID", "E-MAIL", "ROLE", "SIGNED IN"], &page.data.into_iter().map(row).collect::<Vec<_>>());
            if let Some(cursor) = page.next_cursor {
                say(&format!("There are more: --cursor {cursor}"));
            }
        }
        User::Reset { email } => {
            let link = users::reset_link(parts, &Caller::system(None), &email).await?;
            if json {
                return put_json(&json!({"email": email, "link": link}));
            }
            say(&format!("With this link {email} sets a new password. It is good for an hour and works once:"));
            put(&link);
        }
    }
    Ok(())
}

fn row(user: MemberView) -> [String; 4] {
    let signed_in = user.last_signed_in_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    [user.id.to_string(), user.email, user.role, signed_in]
}

impl Place {
    /// The command line acting there. A tenant that is not there is refused here, with its id.
    async fn caller(&self, parts: &engine::Parts) -> Result<Caller, Failure> {
        if let Some(tenant) = self.tenant
            && parts.directory.tenant(tenant).await?.is_none()
        {
            return Err(Failure::Failed(anyhow::anyhow!(
                "there is no tenant {tenant}; `tidings tenant list` shows them"
            )));
        }
        Ok(Caller::system(self.tenant))
    }
}
