//! Mistakes that everybody makes once, and what the compiler says of each. Of its words only ours
//! are looked at, and those that name the type: the others change with its version.

use updraft_test_support::compiler::objections;

/// The functions that are registered, and what there must be in the answer.
fn refused(program: &str, with: &[&str]) {
    let program = format!("use updraft::prelude::*;\n{program}");
    let answer = objections(&program).unwrap_or_else(|| panic!("this compiles:\n{program}"));
    for words in with {
        assert!(answer.contains(words), "no '{words}' in:\n{answer}");
    }
}

fn method(function: &str, with: &[&str]) {
    let register = "pub fn register() { let _ = Server::builder().method(\"f\", f); }";
    refused(&format!("{function}\n{register}"), with);
}

fn vent(function: &str, with: &[&str]) {
    let register = "pub fn register() { let _ = Server::builder().vent(\"f\", f); }";
    refused(&format!("{function}\n{register}"), with);
}

/// Or all of the others would be refused for another reason.
#[test]
fn found_306_a_program_without_a_mistake_compiles() {
    let answer = objections(
        r#"
        use updraft::prelude::*;
        async fn add(_: Call, (a, b): (i64, i64)) -> Result<i64> { Ok(a + b) }
        async fn news(vent: Vent, _: String) -> Result<()> { vent.relay("news").await }
        pub fn register() {
            let _ = Server::builder().method("add", add).vent("news", news);
        }
        "#,
    );
    assert_eq!(answer, None);
}

/// With nothing but the library.
#[test]
fn found_308_authenticators_and_stores_are_plain_async_functions() {
    let answer = objections(
        r#"
        use updraft::account::{
            Accounts, Authenticator, HashedToken, Login, LoginRequest, LoginToken, PasswordRecord, Token, TokenKey,
            TokenOwner, User, UserSelector, Users,
        };
        use updraft::prelude::*;

        #[derive(Debug)]
        struct Tickets;

        impl Authenticator for Tickets {
            async fn login(&self, request: &LoginRequest) -> Result<Option<Login>> {
                let token = Token::new("token");
                let found = request.users().find_by_token(TokenKey::Clear(&token)).await?;
                Ok(found.map(|owner| Login::new(owner.user, "ticket")))
            }
        }

        #[derive(Debug)]
        struct Nobody;

        impl Users for Nobody {
            async fn find_by_token(&self, _: TokenKey<'_>) -> Result<Option<TokenOwner>> {
                Ok(None)
            }
            async fn insert_token(&self, _: &str, _: &LoginToken) -> Result<()> {
                Ok(())
            }
            async fn remove_token(&self, _: &str, _: TokenKey<'_>) -> Result<()> {
                Ok(())
            }
            async fn remove_other_tokens(&self, _: &str, _: Option<&HashedToken>) -> Result<()> {
                Ok(())
            }
            async fn read(&self, _: &[String], _: &[String]) -> Result<Vec<User>> {
                Ok(Vec::new())
            }
            async fn find_password(&self, _: &UserSelector) -> Result<Option<PasswordRecord>> {
                Ok(None)
            }
        }

        pub fn register() {
            let _ = Server::builder().accounts(Accounts::new(Nobody)).authenticator(Tickets);
        }
        "#,
    );
    assert_eq!(answer, None);
}

#[test]
fn found_306_several_parameters_are_one_tuple() {
    method(
        "async fn f(_: Call, _: String, _: i64) -> Result<()> { Ok(()) }",
        &["several parameters are one tuple: `(String, i64)`"],
    );
}

#[test]
fn found_306_a_context_of_another_kind_is_named() {
    method(
        "async fn f(_: Vent) -> Result<()> { Ok(()) }",
        &["its first parameter is the context, a `", "Call`"],
    );
}

#[test]
fn found_306_a_parameter_without_deserialize_is_named() {
    method(
        "pub struct Thread; async fn f(_: Call, _: Thread) -> Result<()> { Ok(()) }",
        &["Thread: ", "Deserialize", "is not satisfied"],
    );
}

#[test]
fn found_306_a_result_without_serialize_is_named() {
    method(
        "pub struct Thread; async fn f(_: Call) -> Result<Thread> { Ok(Thread) }",
        &["Thread: ", "Serialize", "is not satisfied"],
    );
}

#[test]
fn found_306_what_a_future_holds_that_is_not_send_is_named() {
    method(
        "async fn f(call: Call) -> Result<()> {
            let shared = std::rc::Rc::new(1);
            call.flowing().await;
            drop(shared);
            Ok(())
        }",
        &["is not `Send`", "shared", "await"],
    );
}

#[test]
fn found_306_what_is_no_result_is_named() {
    method(
        "async fn f(_: Call) -> i64 { 1 }",
        &[
            "cannot return `i64`",
            "a method returns `updraft::Result<T>`",
        ],
    );
    method(
        "async fn f(_: Call) -> std::io::Result<i64> { Ok(1) }",
        &["the error is `updraft::Error`, to which `?` converts others"],
    );
    method(
        "fn f(_: Call) -> Result<i64> { Ok(1) }",
        &["is not a future"],
    );
}

#[test]
fn found_316_vent_075_a_publication_returns_nothing() {
    vent(
        "async fn f(_: Vent) -> Result<Value> { Ok(ejson!([{ \"_id\": \"x\" }])) }",
        &[
            "a handler of a `",
            "a publication returns `updraft::Result<()>`: what it publishes goes through its context",
        ],
    );
}

#[test]
fn found_306_what_is_no_event_is_named() {
    vent(
        "async fn f(vent: Vent) -> Result<()> { vent.on(\"c\", |_: &Message| 1).await }",
        &[
            "a mapping function cannot return `",
            "it returns `Option<T>`",
        ],
    );
}

#[test]
fn found_306_an_async_block_is_sent_to_on_async() {
    vent(
        "async fn f(vent: Vent) -> Result<()> {
            vent.on(\"c\", |m: &Message| { let event = m.event(); async move { event } }).await
        }",
        &[
            "a mapping function cannot return `",
            "is given to `on_async`",
        ],
    );
}

#[test]
fn found_306_a_text_that_is_no_channel_is_sent_to_the_macro() {
    for function in [
        "async fn f(vent: Vent, id: String) -> Result<()> { vent.relay(format!(\"c.{id}\")).await }",
        "async fn f(vent: Vent, id: String) -> Result<()> { vent.relay(&id).await }",
        "async fn f(vent: Vent, id: String) -> Result<()> { vent.emit(id, 1).await }",
    ] {
        vent(
            function,
            &[
                "does not name",
                "`channel![\"threads\", id]` makes a channel of parts",
            ],
        );
    }
}

#[test]
fn seed_063_half_a_pair_of_key_and_value_does_not_compile() {
    let program = |pairs: &str| format!("pub fn pairs() -> Value {{ ejson!({{ {pairs} }}) }}");
    refused(&program(r#""foo": "bar", "baz""#), &[]);
    let whole = program(r#""foo": "bar", "baz": "bam""#);
    let answer = objections(&format!("use updraft::prelude::*;\n{whole}"));
    assert_eq!(answer, None);
}
