//! Orders of the weeks before, so that recommendations have something to go by. Who orders a steak orders a wine with it.

use tokio_postgres::Transaction;

use super::id_of;

const EVENINGS: i32 = 40;

/// What was ordered together, by the products' slugs; evenings take turns through them.
const BASKETS: &[&[&str]] = &[
    &["ribeye", "malbec", "fries", "dulce-flan"],
    &["provoleta", "skirt-steak", "malbec", "green-salad"],
    &["margherita", "craft-ipa", "tiramisu"],
    &["garlic-prawns", "seafood-paella", "torrontes"],
    &["beef-empanada", "short-ribs", "malbec", "mash"],
    &["mushroom-ravioli", "mineral-water", "espresso"],
    &["pepperoni", "craft-ipa", "ice-cream"],
    &["burrata", "grilled-salmon", "torrontes", "fruit-salad"],
];

pub(super) async fn fill(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    let session = transaction
        .prepare(
            "INSERT INTO table_sessions (id, table_id, waiter_id, guests, opened_at, closed_at) \
             VALUES ($1, $2, $3, 2, now() - make_interval(days => $4), now() - make_interval(days => $4) + interval '90 min')",
        )
        .await?;
    let order = transaction
        .prepare(
            "INSERT INTO orders (id, table_session_id, status, placed_by, total_cents, created_at, updated_at) \
             VALUES ($1, $2, 'paid', $3, 0, now() - make_interval(days => $4), now() - make_interval(days => $4))",
        )
        .await?;
    // A product that somebody took off the menu is left out of the past as well.
    let item = transaction
        .prepare(
            "INSERT INTO order_items (order_id, line, product_id, qty, unit_price_cents) \
             SELECT $1, $2, id, $3, price_cents FROM products WHERE id = $4",
        )
        .await?;
    for (evening, basket) in (1..=EVENINGS).zip(BASKETS.iter().cycle()) {
        let name = evening.to_string();
        let (session_id, order_id) = (id_of("session", &name), id_of("order", &name));
        let table = id_of("table", &(evening % 12 + 1).to_string());
        let waiter = id_of("user", if evening % 2 == 0 { "walter" } else { "wanda" });
        transaction.execute(&session, &[&session_id, &table, &waiter, &evening]).await?;
        transaction.execute(&order, &[&order_id, &session_id, &waiter, &evening]).await?;
        for (line, slug) in (1_i32..).zip(*basket) {
            let qty = 1 + (evening + line) % 2;
            transaction.execute(&item, &[&order_id, &line, &qty, &id_of("product", slug)]).await?;
        }
    }
    let total = "UPDATE orders o SET total_cents = t.total FROM (SELECT order_id, sum(qty * unit_price_cents)::int AS total \
                 FROM order_items GROUP BY order_id) t WHERE t.order_id = o.id AND o.total_cents = 0";
    transaction.execute(total, &[]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::menu::Menu;

    #[test]
    fn everything_ordered_is_on_the_menu() {
        let menu = Menu::built_in();
        for slug in BASKETS.iter().copied().flatten() {
            assert!(menu.products.iter().any(|product| product.slug == *slug), "{slug}");
        }
    }
}
