//! The demo menu: `seed/menu.json`, built into the binary.

use pgvector::Vector;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio_postgres::Transaction;

use super::id_of;
use crate::embed;

/// A menu as it is written in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Menu {
    /// The categories.
    pub categories: Vec<Category>,
    /// The products of all categories.
    pub products: Vec<Product>,
}

/// A category as it is written in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// The name in URLs.
    pub slug: String,
    /// The name on the menu.
    pub name: String,
    /// The place on the menu.
    pub position: i32,
}

/// A product as it is written in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The name its id is made of.
    pub slug: String,
    /// The slug of its category.
    pub category: String,
    /// The name on the menu.
    pub name: String,
    /// A line about it.
    pub description: String,
    /// The price, in hundredths.
    pub price_cents: i32,
    /// What some guests must avoid.
    pub allergens: Vec<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
}

impl Menu {
    /// Reads the menu of this build.
    pub fn built_in() -> Self {
        serde_json::from_str(include_str!("../../seed/menu.json")).expect("a test reads the same file")
    }
}

impl Product {
    /// The text that its vector stands for.
    pub fn text(&self, menu: &Menu) -> String {
        let category = menu.categories.iter().find(|category| category.slug == self.category);
        embedded_text(&self.name, &self.description, category.map_or("", |category| category.name.as_str()), &self.tags)
    }
}

/// The text that the vector of a product stands for. The name comes twice: it says more than the description.
pub(crate) fn embedded_text(name: &str, description: &str, category: &str, tags: &[String]) -> String {
    format!("{name} {name} {description} {category} {}", tags.join(" "))
}

/// Writes the menu.
pub(super) async fn fill(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    let menu = Menu::built_in();
    let insert =
        transaction.prepare("INSERT INTO categories (id, slug, name, position) VALUES ($1, $2, $3, $4)").await?;
    for Category { slug, name, position } in &menu.categories {
        transaction.execute(&insert, &[&id_of("category", slug), slug, name, position]).await?;
    }
    let insert = transaction
        .prepare(
            "INSERT INTO products (id, category_id, name, description, price_cents, allergens, tags, embedding, \
             embedding_model, embedding_src_sha256) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .await?;
    for product in &menu.products {
        let text = product.text(&menu);
        let vector = embed::embed(&text).map(Vector::from);
        let model = vector.as_ref().map(|_| embed::MODEL);
        let digest = Sha256::digest(&text).to_vec();
        let Product { slug, category, name, description, price_cents, allergens, tags } = product;
        let (id, category) = (id_of("product", slug), id_of("category", category));
        transaction
            .execute(
                &insert,
                &[&id, &category, name, description, price_cents, allergens, tags, &vector, &model, &digest],
            )
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_menu_is_consistent() {
        let menu = Menu::built_in();
        assert!(menu.categories.len() == 8 && menu.products.len() == 60);
        let categories: HashSet<_> = menu.categories.iter().map(|category| &category.slug).collect();
        let slugs: HashSet<_> = menu.products.iter().map(|product| &product.slug).collect();
        assert_eq!((categories.len(), slugs.len()), (menu.categories.len(), menu.products.len()), "slugs repeat");
        for product in &menu.products {
            assert!(categories.contains(&product.category), "{product:?}");
            assert!(product.price_cents > 0 && !product.name.is_empty(), "{product:?}");
        }
    }
}
