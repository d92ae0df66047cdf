//! What Telegram's refusals mean. It has few codes and tells the rest in English descriptions, which may change: what is not recognised falls back
//! on the code. <https://core.telegram.org/bots/api#making-requests>

use model::{Failure, FailureKind};

use FailureKind::{Account, Content, OptedOut, Recipient, Throttled, Unavailable, Unknown};

/// A piece of the description in lower case, with what it means. The first one found counts.
static DESCRIPTIONS: &[(u16, &str, FailureKind, &str)] = &[
    // Some files of an album may be out already: https://github.com/rubenlagus/TelegramBots/issues/1520
    (
        400,
        "too many requests",
        Unknown,
        "Telegram stopped in the middle of the album, and some of its files may have arrived.",
    ),
    (400, "chat not found", Recipient, "Telegram does not know this chat. The person must start the bot first."),
    (400, "user not found", Recipient, "Telegram does not know this person."),
    (400, "peer_id_invalid", Recipient, "Telegram does not know this chat. The person must start the bot first."),
    (400, "chat_write_forbidden", Recipient, "The bot may not write in this chat. An administrator must allow it."),
    (400, "not enough rights", Recipient, "The bot may not do this in this chat. An administrator must allow it."),
    (400, "have no rights", Recipient, "The bot may not write in this chat. An administrator must allow it."),
    (400, "need administrator rights", Recipient, "The bot must be an administrator of this channel."),
    (400, "group chat was upgraded", Recipient, "The group has a new chat id. Update the contact."),
    (400, "text is empty", Content, "The text is empty."),
    (400, "text must be non-empty", Content, "The text is empty."),
    (400, "message is too long", Content, "The text is longer than 4096 characters."),
    (400, "caption is too long", Content, "The caption is longer than 1024 characters."),
    (400, "can't parse entities", Content, "The text's formatting cannot be read."),
    (400, "wrong http url", Content, "A URL of the message is not valid."),
    (400, "failed to get http url content", Content, "Telegram could not fetch a file from its URL."),
    (400, "wrong type of the web page content", Content, "A URL leads to another kind of file than the message says."),
    (400, "wrong file identifier", Content, "A file of the message cannot be used."),
    (400, "button_data_invalid", Content, "The data of a button is not valid."),
    (400, "button_url_invalid", Content, "The URL of a button is not valid."),
    (403, "bot was blocked by the user", OptedOut, "The person has blocked the bot. Only they can undo it."),
    (403, "bot was kicked", OptedOut, "The bot was removed from the group. A member must add it again."),
    (403, "user is deactivated", Recipient, "The person's Telegram account is deleted."),
    (403, "can't initiate conversation", Recipient, "The person has not started the bot."),
    (403, "can't send messages to bots", Recipient, "The recipient is a bot."),
    (403, "not a member", Recipient, "The bot is not in this group or channel. Add it first."),
];

/// The failure behind one of Telegram's own refusals.
pub(super) fn refused(code: u16, description: &str) -> Failure {
    let lower = description.to_lowercase();
    let found = DESCRIPTIONS.iter().find(|(of, piece, _, _)| *of == code && lower.contains(piece));
    let (kind, says) = found.map_or_else(|| by_code(code), |(_, _, kind, says)| (*kind, *says));
    Failure::new(kind, code.to_string(), says).with_provider_detail(description)
}

fn by_code(code: u16) -> (FailureKind, &'static str) {
    match code {
        401 => (Account, "Telegram rejected the bot token. Update the account with the token from @BotFather."),
        403 => (Recipient, "The bot may not write to this chat."),
        404 => (Account, "Telegram does not find the bot. Update the account with the token from @BotFather."),
        409 => (Account, "Another program receives this bot's updates. Stop it, or use another bot."),
        413 => (Content, "The message is too large for Telegram."),
        420 | 429 => (Throttled, "Too many messages from this bot, or in this chat."),
        400..=499 => (Content, "Telegram refused the message."),
        _ => (Unavailable, "Telegram failed inside and did not take the message."),
    }
}

/// The failure behind an answer that is not Telegram's JSON: something between us and Telegram spoke, or its edge did. A refusal took nothing; anything
/// else leaves open what happened.
pub(super) fn foreign(status: u16, words: &str) -> Failure {
    let (kind, says) = match status {
        401 | 404 | 409 | 413 | 420 | 429 => by_code(status),
        408 => (Unknown, "The connection to Telegram ran out of time after the request left."),
        400..=499 => (
            Unavailable,
            "Something in front of Telegram refused the request. Check the connector's base URL and proxies.",
        ),
        200..=299 => {
            (Unknown, "The answer to the request is not Telegram's, so nobody can say whether it took the message.")
        }
        _ => (Unknown, "Telegram's edge failed and did not say whether the message was taken."),
    };
    let code = if (200..=299).contains(&status) { "malformed_answer".to_owned() } else { format!("http_{status}") };
    Failure::new(kind, code, says).with_provider_detail(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_and_codes() {
        #[rustfmt::skip]
        let table = [
            (403, "Forbidden: bot was blocked by the user", OptedOut),
            (403, "Forbidden: bot was kicked from the supergroup chat", OptedOut),
            (403, "Forbidden: user is deactivated", Recipient),
            (403, "Forbidden: bot is not a member of the channel chat", Recipient),
            (403, "Forbidden: bot can't initiate conversation with a user", Recipient),
            (403, "Forbidden: bot can't send messages to bots", Recipient),
            (403, "Forbidden: something new", Recipient),
            (400, "Bad Request: chat not found", Recipient),
            (400, "Bad Request: user not found", Recipient),
            (400, "Bad Request: PEER_ID_INVALID", Recipient),
            (400, "Bad Request: CHAT_WRITE_FORBIDDEN", Recipient),
            (400, "Bad Request: not enough rights to send text messages to the chat", Recipient),
            (400, "Bad Request: group chat was upgraded to a supergroup chat", Recipient),
            (400, "Bad Request: message text is empty", Content),
            (400, "Bad Request: message is too long", Content),
            (400, "Bad Request: message caption is too long", Content),
            (400, "Bad Request: can't parse entities: unsupported start tag", Content),
            (400, "Bad Request: wrong HTTP URL specified", Content),
            (400, "Bad Request: failed to get HTTP URL content", Content),
            (400, "Bad Request: wrong file identifier/HTTP URL specified", Content),
            (400, "Bad Request: BUTTON_DATA_INVALID", Content),
            (400, "Bad Request: MEDIA_EMPTY", Content),
            (400, "Bad Request: message to be replied not found", Content),
            (400, "Bad Request: failed to send message #1 with the error message \"Too Many Requests: retry after 8\"", Unknown),
            (401, "Unauthorized", Account),
            (404, "Not Found", Account),
            (409, "Conflict: terminated by other getUpdates request", Account),
            (413, "Request Entity Too Large", Content),
            (420, "FLOOD_WAIT_7", Throttled),
            (429, "Too Many Requests: retry after 7", Throttled),
            (500, "Internal Server Error: restart", Unavailable),
        ];
        for (code, description, kind) in table {
            assert_eq!(refused(code, description).kind, kind, "{code} {description}");
        }
    }

    #[test]
    fn an_answer_from_elsewhere_blames_nobody() {
        let kind = |status| foreign(status, "<html>").kind;
        assert_eq!(kind(403), Unavailable);
        assert_eq!(kind(407), Unavailable);
        assert_eq!(kind(401), Account);
        assert_eq!(kind(408), Unknown);
        assert_eq!(kind(429), Throttled);
        for status in [200, 302, 500, 502, 504] {
            assert_eq!(kind(status), Unknown, "{status}");
        }
    }
}
