//! The demo people, their rooms and messages, the tables, and what the chatbot knows.

use pgvector::Vector;
use serde::Deserialize;
use tokio_postgres::Transaction;

use super::{DEMO_PASSWORD, id_of};
use crate::auth::password;
use crate::embed;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct People {
    users: Vec<User>,
    rooms: Vec<Room>,
    messages: Vec<Message>,
    tables: Vec<i32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    slug: String,
    email: String,
    name: String,
    role: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Room {
    slug: String,
    kind: String,
    name: String,
    members: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    room: String,
    from: String,
    body: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passage {
    source: String,
    title: String,
    body: String,
}

fn people() -> People {
    serde_json::from_str(include_str!("../../seed/people.json")).expect("a test reads the same file")
}

fn knowledge() -> Vec<Passage> {
    serde_json::from_str(include_str!("../../seed/knowledge.json")).expect("a test reads the same file")
}

pub(super) async fn fill(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    let People { users, rooms, messages, tables } = people();
    // One hash for all: they have one password, and a hash is slow on purpose.
    let hash = password::hash_blocking(DEMO_PASSWORD);
    let insert = "INSERT INTO users (id, email, display_name, password_hash, role) VALUES ($1, $2, $3, $4, $5)";
    let insert = transaction.prepare(insert).await?;
    for User { slug, email, name, role } in &users {
        transaction.execute(&insert, &[&id_of("user", slug), email, name, &hash, role]).await?;
    }
    let insert = transaction.prepare("INSERT INTO dining_tables (id, number, seats) VALUES ($1, $2, $3)").await?;
    for (number, seats) in (1_i32..).zip(&tables) {
        transaction.execute(&insert, &[&id_of("table", &number.to_string()), &number, seats]).await?;
    }
    let room = transaction.prepare("INSERT INTO rooms (id, kind, name, created_by) VALUES ($1, $2, $3, $4)").await?;
    let member = transaction.prepare("INSERT INTO room_members (room_id, user_id, role) VALUES ($1, $2, $3)").await?;
    for Room { slug, kind, name, members } in &rooms {
        let id = id_of("room", slug);
        transaction.execute(&room, &[&id, kind, name, &members.first().map(|first| id_of("user", first))]).await?;
        for (index, who) in members.iter().enumerate() {
            let role = if index == 0 { "owner" } else { "member" };
            transaction.execute(&member, &[&id, &id_of("user", who), &role]).await?;
        }
    }
    let send = transaction.prepare("SELECT o_off FROM send_message($1, $2, $3, $4, $5, NULL, NULL)").await?;
    for (index, Message { room, from, body }) in messages.iter().enumerate() {
        let id = id_of("message", &index.to_string());
        transaction.query_one(&send, &[&id_of("room", room), &id_of("user", from), &id, &id, body]).await?;
    }
    let insert = transaction
        .prepare(
            "INSERT INTO kb_chunks (id, source, ord, title, body, embedding, embedding_model) \
             VALUES ($1, $2, 1, $3, $4, $5, $6)",
        )
        .await?;
    for Passage { source, title, body } in &knowledge() {
        let vector = embed::embed(&format!("{title} {title} {body}")).map(Vector::from);
        let model = vector.as_ref().map(|_| embed::MODEL);
        transaction.execute(&insert, &[&id_of("passage", source), source, title, body, &vector, &model]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_people_are_consistent() {
        let People { users, rooms, messages, tables } = people();
        let names: HashSet<_> = users.iter().map(|user| user.slug.as_str()).collect();
        let roles: HashSet<_> = users.iter().map(|user| user.role.as_str()).collect();
        assert_eq!((names.len(), roles.len(), tables.len()), (users.len(), 5, 12));
        let mut members = rooms.iter().flat_map(|room| &room.members).chain(messages.iter().map(|m| &m.from));
        assert!(members.all(|who| names.contains(who.as_str())));
        assert!(messages.iter().all(|message| rooms.iter().any(|room| room.slug == message.room)));
        assert!(knowledge().len() >= 8);
    }
}
