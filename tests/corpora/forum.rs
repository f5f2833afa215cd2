//! A gardening forum: plural tables and columns in `camelCase`.

use super::generate::{Maker, PEOPLE};
use super::schema::{Database, Value, row};

/// Makes the forum.
pub fn build() -> Database {
    let mut db = Database::new(53, &[PEOPLE, include_str!("words/forum.txt")]);
    people(&mut db);
    boards(&mut db);
    posts(&mut db);
    reactions(&mut db);
    messages(&mut db);
    technical(&mut db);
    db.view(
        "latestThreads",
        "SELECT t.\"threadId\" AS threadId, t.\"title\" AS title, u.\"displayName\" AS author FROM \"threads\" t \
         JOIN \"users\" u ON u.\"userId\" = t.\"authorId\"",
    );
    db
}

fn people(db: &mut Database) {
    db.table(
        "users",
        "userId int pk
         userName varchar(40) unique
         displayName varchar(80)
         emailAddress varchar(160) unique
         passwordDigest varchar(80)
         bio text null
         signature varchar(160) null
         avatarUrl varchar(200) null
         reputation int
         joinedAt timestamp",
        400,
        |g, n| {
            let (first, last) = (g.say("first"), g.say("last"));
            let email = g.email(&format!("{first} {last}"), n);
            row![
                n,
                format!("{}{n}", first.to_lowercase()),
                format!("{first} {last}"),
                email,
                g.bcrypt(),
                g.some(75, |g| g.prose("bio", 1, 3)),
                g.some(40, |g| g.say("signature")),
                g.some(60, |_| format!("https://avatars.example.net/{n}.png")),
                g.between(0, 9000),
                g.timestamp(2015, 2025)
            ]
        },
    );
    db.table(
        "badges",
        "badgeId int pk
         name varchar(60)
         description varchar(200)
         iconClass varchar(40)",
        18,
        |g, n| {
            row![
                n,
                format!("{} {n}", g.say("badgename")),
                g.say("badgedesc"),
                format!("icon-{}", g.hex(4))
            ]
        },
    );
    let pairs = db.maker.pairs("users.userId", "badges.badgeId", 500);
    let rows = pairs
        .into_iter()
        .map(|(user, badge)| row![user, badge, db.maker.timestamp(2016, 2025)])
        .collect();
    db.rows(
        "userBadges",
        "userId int -> users.userId
         badgeId int -> badges.badgeId
         awardedAt timestamp
         primary key (userId, badgeId)",
        rows,
    );
}

fn boards(db: &mut Database) {
    db.table(
        "boards",
        "boardId int pk
         parentBoardId int null -> boards.boardId
         title varchar(80)
         description varchar(200)
         position int",
        22,
        |g, n| {
            row![
                n,
                g.earlier(n, 60),
                format!("{} {n}", g.say("boardname")),
                g.say("boarddesc"),
                n % 7
            ]
        },
    );
    db.table(
        "tags",
        "tagId int pk
         label varchar(40)",
        12,
        |g, n| row![n, format!("{}-{n}", g.say("tag"))],
    );
    db.table(
        "threads",
        "threadId int pk
         boardId int -> boards.boardId
         authorId int -> users.userId
         lastPosterId int null noindex -> users.userId
         title varchar(200)
         viewCount int
         isPinned bool
         createdAt timestamp",
        500,
        |g, n| {
            row![
                n,
                g.key("boards.boardId"),
                g.key("users.userId"),
                g.some(90, |g| g.key("users.userId")),
                g.say("threadtitle"),
                g.between(3, 20_000),
                g.chance(3),
                g.timestamp(2018, 2025)
            ]
        },
    );
    let pairs = db.maker.pairs("threads.threadId", "tags.tagId", 700);
    db.rows(
        "threadTags",
        "threadId int -> threads.threadId
         tagId int -> tags.tagId
         primary key (threadId, tagId)",
        pairs
            .into_iter()
            .map(|(thread, tag)| vec![thread, tag])
            .collect(),
    );
}

fn posts(db: &mut Database) {
    db.table(
        "posts",
        "postId int pk
         threadId int -> threads.threadId
         authorId int -> users.userId
         replyToPostId int null -> posts.postId
         body text
         editCount int
         posterIp varchar(45)
         createdAt timestamp",
        2000,
        |g, n| {
            let thread = if n <= 500 {
                Value::Int(n)
            } else {
                g.key("threads.threadId")
            };
            row![
                n,
                thread,
                g.key("users.userId"),
                g.earlier(n, 30),
                g.prose("post", 1, 4),
                g.between(0, 4),
                g.ip(),
                g.timestamp(2018, 2025)
            ]
        },
    );
    db.table(
        "polls",
        "pollId int pk
         threadId int unique -> threads.threadId
         question varchar(200)
         closesAt timestamp null",
        100,
        |g, n| {
            row![
                n,
                g.at("threads.threadId", n * 5),
                g.say("poll"),
                g.some(50, |g| g.timestamp(2024, 2026))
            ]
        },
    );
    let lines = db.maker.lines("polls.pollId", 2, 4);
    let rows = lines
        .into_iter()
        .map(|(poll, line)| {
            row![
                poll,
                line,
                db.maker.say("polloption"),
                db.maker.between(0, 90)
            ]
        })
        .collect();
    db.rows(
        "pollOptions",
        "pollId int noindex -> polls.pollId
         optionNo int
         label varchar(120)
         voteCount int
         primary key (pollId, optionNo)",
        rows,
    );
}

fn reactions(db: &mut Database) {
    let pairs = db.maker.pairs("posts.postId", "users.userId", 1500);
    let rows = pairs
        .into_iter()
        .map(|(post, user)| row![post, user, db.maker.pick(&[1_i64, 1, 1, -1])])
        .collect();
    db.rows(
        "postVotes",
        "postId int -> posts.postId
         userId int -> users.userId
         value int
         primary key (postId, userId)",
        rows,
    );
    db.table(
        "moderationReports",
        "reportId int pk
         contentType varchar(20)
         contentId int
         reporterId int -> users.userId
         reason varchar(200)
         resolved bool
         index (contentType, contentId)",
        200,
        |g, n| {
            row![
                n,
                g.pick(&["post", "thread", "user"]),
                g.between(1, 300),
                g.key("users.userId"),
                g.say("report"),
                g.chance(70)
            ]
        },
    );
}

fn messages(db: &mut Database) {
    db.table(
        "privateMessages",
        "messageId int pk
         senderId int -> users.userId
         recipientId int -> users.userId
         subject varchar(120)
         body text
         readAt timestamp null",
        300,
        |g, n| {
            row![
                n,
                g.key("users.userId"),
                g.key("users.userId"),
                g.say("pmsubject"),
                g.prose("pm", 1, 2),
                g.some(80, |g| g.timestamp(2024, 2025))
            ]
        },
    );
    db.table(
        "notificationSettings",
        "userId int pk -> users.userId
         digest varchar(10)
         pushToken varchar(80) null
         settings json",
        400,
        |g, n| {
            let settings = format!(
                "{{\"replies\": {}, \"badges\": {}}}",
                g.chance(80),
                g.chance(40)
            );
            row![
                n,
                g.pick(&["daily", "weekly", "never"]),
                g.some(40, |g| g.token("fcm:", 60)),
                settings
            ]
        },
    );
}

fn technical(db: &mut Database) {
    db.table(
        "userSessions",
        "sessionId uuid pk
         userId int -> users.userId
         refreshToken varchar(120)
         userAgent varchar(255)
         ipAddress varchar(45)
         expiresAt timestamp",
        350,
        |g, _| {
            row![
                g.uuid(),
                g.key("users.userId"),
                g.token("rt_", 80),
                g.say("agent"),
                g.ip(),
                g.timestamp(2025, 2026)
            ]
        },
    );
    db.table(
        "loginAttempts",
        "attemptId bigint pk
         userName varchar(40)
         ipAddress varchar(45)
         succeeded bool
         attemptedAt timestamp",
        1200,
        |g, n| {
            let name = if g.chance(80) {
                g.key("users.userName")
            } else {
                Value::Text(format!("root{}", g.digits(3)))
            };
            row![n, name, Maker::ip(g), g.chance(85), g.timestamp(2025, 2025)]
        },
    );
    db.table(
        "migrations",
        "migrationId int pk
         fileName varchar(120)
         batch int",
        45,
        |_, n| {
            row![
                n,
                format!("2020_01_{:02}_000000_change_{n}.php", 1 + n % 28),
                1 + n / 6
            ]
        },
    );
}
