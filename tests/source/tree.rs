//! The sources of a crate as modules and names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use quote::ToTokens;
use syn::{Attribute, Item, Meta, UseTree};

use crate::resolve::child;

/// A module by its path: `["kernels", "linear"]`; the root is empty.
pub(crate) type ModulePath = Vec<String>;

/// Every module of a crate, without what only its own tests see.
pub(crate) struct SourceTree {
    pub(crate) modules: BTreeMap<ModulePath, Module>,
}

/// What a module holds.
pub(crate) struct Module {
    /// The folder of its file.
    pub(crate) folder: String,
    pub(crate) items: Vec<Item>,
    /// What its `use` items bring.
    pub(crate) used: Vec<UsedName>,
    /// The names of its other items.
    pub(crate) names: BTreeSet<String>,
}

/// One name that a `use` brings.
pub(crate) struct UsedName {
    pub(crate) path: Vec<String>,
    /// The name it goes by; `None` for all names of a module.
    pub(crate) name: Option<String>,
}

impl SourceTree {
    /// Reads the crate in `src` of this repository.
    pub(crate) fn of_this_crate() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = BTreeMap::new();
        read_folder(&source, "", &mut files);
        Self::parse(&files)
    }

    /// Reads the crate whose files have these texts; one of them is `lib.rs`.
    pub(crate) fn parse(files: &BTreeMap<String, String>) -> Self {
        let mut tree = Self {
            modules: BTreeMap::new(),
        };
        tree.add(files, vec![], items_of(files, "lib.rs"));
        tree
    }

    fn add(&mut self, files: &BTreeMap<String, String>, path: ModulePath, file: FileItems) {
        let FileItems { folder, items } = file;
        let mut items: Vec<Item> = items.into_iter().filter(|item| !is_test(item)).collect();
        for item in &mut items {
            let Item::Mod(module) = item else { continue };
            let child = child(&path, &module.ident.to_string());
            let inside = match module.content.take() {
                Some((_, items)) => FileItems {
                    folder: folder.clone(),
                    items,
                },
                None => module_file(files, &child.join("/")),
            };
            self.add(files, child, inside);
        }
        self.modules.insert(path, Module::new(folder, items));
    }
}

impl Module {
    fn new(folder: String, items: Vec<Item>) -> Self {
        let uses = items.iter().filter_map(|item| match item {
            Item::Use(item) => Some(used_names(&item.tree)),
            _ => None,
        });
        Self {
            folder,
            used: uses.flatten().collect(),
            names: items.iter().filter_map(name_of).collect(),
            items,
        }
    }
}

/// The items of a file, and the folder it lies in.
struct FileItems {
    folder: String,
    items: Vec<Item>,
}

fn read_folder(folder: &Path, inside: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        let name = path.file_name().expect("an entry has a name");
        let name = format!("{inside}{}", name.to_string_lossy());
        if path.is_dir() {
            read_folder(&path, &format!("{name}/"), files);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("the sources are readable");
            files.insert(name, text);
        }
    }
}

fn module_file(files: &BTreeMap<String, String>, module: &str) -> FileItems {
    let names = [format!("{module}.rs"), format!("{module}/mod.rs")];
    let name = names.iter().find(|name| files.contains_key(*name));
    let name = name.unwrap_or_else(|| panic!("the module `{module}` has no file"));
    items_of(files, name)
}

fn items_of(files: &BTreeMap<String, String>, name: &str) -> FileItems {
    let file = syn::parse_file(&files[name]);
    let file = file.unwrap_or_else(|error| panic!("{name}: {error}"));
    FileItems {
        folder: name
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder)
            .to_string(),
        items: file.items,
    }
}

fn is_test(item: &Item) -> bool {
    attributes(item)
        .iter()
        .any(|attribute| is_cfg(attribute, "test"))
}

/// Whether the attribute is a `cfg` that speaks of `word`, a flag or a feature.
pub(crate) fn is_cfg(attribute: &Attribute, word: &str) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };
    let tokens = list.tokens.to_string();
    let mut words = tokens.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    list.path.is_ident("cfg") && words.any(|found| found == word)
}

/// The attributes of an item of a kind that this crate has.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        other => panic!("an item of an unknown kind: {}", other.to_token_stream()),
    }
}

/// The name that an item defines; modules and `use` have their own rules.
pub(crate) fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        _ => None,
    };
    ident.map(ToString::to_string)
}

/// Every name that a `use` brings, out of its braces.
pub(crate) fn used_names(tree: &UseTree) -> Vec<UsedName> {
    let mut names = Vec::new();
    collect_names(tree, vec![], &mut names);
    names
}

fn collect_names(tree: &UseTree, mut path: Vec<String>, names: &mut Vec<UsedName>) {
    let (last, name) = match tree {
        UseTree::Path(step) => {
            path.push(step.ident.to_string());
            return collect_names(&step.tree, path, names);
        }
        UseTree::Group(group) => {
            let inner = group.items.iter();
            return inner.for_each(|tree| collect_names(tree, path.clone(), names));
        }
        UseTree::Glob(_) => return names.push(UsedName { path, name: None }),
        UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
        UseTree::Rename(rename) => (rename.ident.to_string(), rename.rename.to_string()),
    };
    // `{self, ..}` brings the module in front of it.
    let name = match (last == "self", path.last()) {
        (true, Some(module)) if name == "self" => module.clone(),
        _ => name,
    };
    if last != "self" || path.is_empty() {
        path.push(last);
    }
    names.push(UsedName {
        path,
        name: Some(name),
    });
}
