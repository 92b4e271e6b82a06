//! Every family of models that is written is in the register: the laws of all families loop over it.

use std::collections::BTreeSet;

use quote::ToTokens;
use syn::{Expr, Item, ItemConst};

use crate::tree::SourceTree;

#[test]
fn every_family_is_in_the_register() {
    let tree = SourceTree::of_this_crate();
    let models = tree.modules.iter();
    let models = models.filter(|(path, _)| path.first().is_some_and(|first| first == "models"));
    let (mut written, mut registered) = (BTreeSet::new(), BTreeSet::new());
    for (path, module) in models {
        let file = path.last().map(String::as_str).unwrap_or_default();
        for constant in module.items.iter().filter_map(constant) {
            match (words(&constant.ty).as_str(), &*constant.expr) {
                ("Family", _) => {
                    written.insert(format!("{file}::{}", constant.ident));
                }
                (_, Expr::Reference(list)) if constant.ident == "FAMILIES" => {
                    registered.extend(elements(&list.expr));
                }
                _ => {}
            }
        }
    }
    assert!(registered.len() > 8, "{registered:?}");
    assert_eq!(written, registered);
}

fn constant(item: &Item) -> Option<&ItemConst> {
    match item {
        Item::Const(constant) => Some(constant),
        _ => None,
    }
}

/// The elements of an array, as they are written.
fn elements(array: &Expr) -> Vec<String> {
    match array {
        Expr::Array(array) => array.elems.iter().map(words).collect(),
        _ => Vec::new(),
    }
}

fn words(tokens: &impl ToTokens) -> String {
    let words = tokens.to_token_stream().to_string();
    words.replace(' ', "")
}
