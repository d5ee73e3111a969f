//! Circles of files: files of one crate that import each other, directly or through others.
//!
//! A path counts for the file that defines its item, also when another file re-exports it. Tests do not count, and
//! neither do paths between a module and the modules inside it: a folder and its `mod.rs` belong together.

use super::Source;
use crate::shell::Result;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// A path of modules below the root of a crate; the root's is empty.
type Module = Vec<String>;
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// Longest chain of re-exports that is followed.
const MAX_REEXPORTS: usize = 5;

pub(super) fn check(sources: &[Source]) -> Result<Vec<String>> {
    let mut crates: BTreeMap<String, BTreeMap<Module, Imports>> = BTreeMap::new();
    for source in sources {
        if let Some((name, module)) = module_of(&source.path) {
            let tokens = source.text.parse().map_err(|error| format!("{}: {error}", source.path.display()))?;
            let mut imports = Imports::default();
            imports.scan(tokens, &module);
            crates.entry(name).or_default().insert(module, imports);
        }
    }
    let mut breaches = Vec::new();
    for (name, files) in &crates {
        for circle in circles(&graph(files)) {
            let files: Vec<_> = circle.iter().map(|module| module.join("/")).collect();
            breaches.push(format!("{name}: files import each other in a circle: {}", files.join(", ")));
        }
    }
    Ok(breaches)
}

/// The crate and the module of a file below its `src`; roots of binaries and tests have none.
fn module_of(path: &Path) -> Option<(String, Module)> {
    let mut parts: Module = path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let src = parts.iter().position(|part| part == "src")?;
    let name = parts.get(src.checked_sub(1)?)?.clone();
    let mut module = parts.split_off(src + 1);
    match module.last()?.as_str() {
        "main" | "tests" => return None,
        "lib" | "mod" => drop(module.pop()),
        _ => {}
    }
    Some((name, module))
}

/// The imports of a file.
#[derive(Default)]
struct Imports {
    /// Absolute paths that the file uses.
    uses: Vec<Module>,
    /// Absolute paths that the file re-exports, by the absolute path of the new name.
    exports: BTreeMap<Module, Module>,
}

impl Imports {
    /// Adds the imports in the tokens of `module`.
    fn scan(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                _ if is_cfg_test(&tokens[at..]) => at = end_of_item(&tokens, at + 2),
                TokenTree::Ident(ident) if ident == "use" && !is_punct(tokens.get(at + 1), '<') => {
                    let end = end_of_statement(&tokens, at);
                    self.add_use(&tokens[at + 1..end], is_public(&tokens[..at]), module);
                    at = end;
                }
                TokenTree::Ident(ident) if ident == "crate" || ident == "super" => {
                    let (path, end) = path_at(&tokens, at);
                    // Alone, it is a visibility such as `pub(super)`.
                    if path.len() > 1 {
                        self.uses.extend(absolute(module, &path));
                    }
                    at = end;
                }
                TokenTree::Ident(ident) if ident == "mod" => {
                    // The body of an inline module; other modules are other files.
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (tokens.get(at + 1), tokens.get(at + 2))
                    {
                        self.scan(body.stream(), &[module, &[name.to_string()]].concat());
                        at += 2;
                    }
                    at += 1;
                }
                TokenTree::Group(group) => {
                    self.scan(group.stream(), module);
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    fn add_use(&mut self, tree: &[TokenTree], is_public: bool, module: &[String]) {
        for (path, name) in use_paths(tree) {
            let absolute = absolute(module, &path);
            self.uses.extend(absolute.clone());
            if is_public {
                // Without a keyword, the path begins at a module inside this one.
                let target = absolute.unwrap_or_else(|| [module, &path].concat());
                self.exports.insert([module, &[name]].concat(), target);
            }
        }
    }
}

fn is_punct(token: Option<&TokenTree>, expected: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == expected)
}

/// Whether the tokens begin with `#[cfg(test)]`.
fn is_cfg_test(tokens: &[TokenTree]) -> bool {
    let is_test = |token: Option<&TokenTree>| {
        matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket
            && group.stream().to_string().replace(' ', "") == "cfg(test)")
    };
    is_punct(tokens.first(), '#') && is_test(tokens.get(1))
}

/// The index after the item whose tokens begin at `from`: it ends with a semicolon or with braces.
fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        token => is_punct(Some(token), ';'),
    };
    tokens.iter().skip(from).position(is_end).map_or(tokens.len(), |end| from + end + 1)
}

/// The index of the semicolon that ends the statement at `from`.
fn end_of_statement(tokens: &[TokenTree], from: usize) -> usize {
    tokens.iter().skip(from).position(|token| is_punct(Some(token), ';')).map_or(tokens.len(), |end| from + end)
}

/// Whether the tokens before an item end with `pub` or, for example, `pub(crate)`.
fn is_public(before: &[TokenTree]) -> bool {
    let is_pub = |token: &TokenTree| matches!(token, TokenTree::Ident(ident) if ident == "pub");
    match before {
        [.., visibility, TokenTree::Group(group)] if group.delimiter() == Delimiter::Parenthesis => is_pub(visibility),
        [.., last] => is_pub(last),
        [] => false,
    }
}

/// The path of identifiers at an index, and the index after it.
fn path_at(tokens: &[TokenTree], mut at: usize) -> (Module, usize) {
    let mut path = Module::new();
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        path.push(ident.to_string());
        at += 1;
        if !(is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')) {
            break;
        }
        at += 2;
    }
    (path, at)
}

/// The paths of a use tree, each with the name that it introduces: `a::{b, c as d}` has `a::b` and `a::c`.
fn use_paths(tree: &[TokenTree]) -> Vec<(Module, String)> {
    let mut paths = Vec::new();
    for branch in tree.split(|token| is_punct(Some(token), ',')) {
        let (prefix, end) = path_at(branch, 0);
        match branch.get(end) {
            Some(TokenTree::Group(group)) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                paths.extend(use_paths(&inner).into_iter().map(|(path, name)| ([&prefix[..], &path].concat(), name)));
            }
            Some(TokenTree::Ident(_)) => {
                // `as` and the new name.
                let name = branch.get(end + 1).map(ToString::to_string).unwrap_or_default();
                paths.push((prefix, name));
            }
            _ => {
                let name = prefix.last().cloned().unwrap_or_default();
                paths.push((prefix, name));
            }
        }
    }
    paths
}

/// The absolute form of a path that begins with `crate`, `self` or `super`.
fn absolute(module: &[String], path: &[String]) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let above = path.iter().take_while(|part| *part == "super").count();
            let base = module.get(..module.len().checked_sub(above)?)?;
            Some([base, &path[above..]].concat())
        }
        _ => None,
    }
}

/// Which file imports which.
fn graph(files: &BTreeMap<Module, Imports>) -> Graph {
    let exports: BTreeMap<&Module, &Module> = files.values().flat_map(|imports| &imports.exports).collect();
    let mut graph = Graph::new();
    for (module, imports) in files {
        let targets = imports.uses.iter().filter_map(|path| defining_file(path, files, &exports));
        let targets = targets.filter(|target| !target.starts_with(module) && !module.starts_with(target));
        graph.insert(module.clone(), targets.collect());
    }
    graph
}

/// The file that defines an item.
fn defining_file(
    path: &[String],
    files: &BTreeMap<Module, Imports>,
    exports: &BTreeMap<&Module, &Module>,
) -> Option<Module> {
    let mut path = path.to_vec();
    for _ in 0..MAX_REEXPORTS {
        let exported = (0..=path.len()).rev().find_map(|end| {
            let prefix = path[..end].to_vec();
            let target = exports.get(&prefix).filter(|target| ***target != prefix)?;
            Some([target, &path[end..]].concat())
        });
        match exported {
            Some(target) => path = target,
            None => break,
        }
    }
    (0..=path.len()).rev().map(|end| path[..end].to_vec()).find(|module| files.contains_key(module))
}

/// The sets of files that import each other.
fn circles(graph: &Graph) -> Vec<BTreeSet<&Module>> {
    let reachable: BTreeMap<&Module, BTreeSet<&Module>> =
        graph.keys().map(|module| (module, reachable_from(graph, module))).collect();
    let circle_of = |module: &Module| -> BTreeSet<&Module> {
        reachable[module].iter().copied().filter(|other| reachable[other].contains(module)).collect()
    };
    let circles: BTreeSet<_> = graph.keys().map(circle_of).filter(|circle| !circle.is_empty()).collect();
    circles.into_iter().collect()
}

fn reachable_from<'a>(graph: &'a Graph, from: &[String]) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&Module> = graph.get(from).into_iter().flatten().collect();
    while let Some(module) = waiting.pop() {
        if found.insert(module) {
            waiting.extend(graph.get(module).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(files: &[(&str, &str)]) -> Vec<String> {
        let sources = files.iter().map(|(name, text)| Source::new(&format!("crates/x/src/{name}.rs"), text));
        check(&sources.collect::<Vec<_>>()).expect("valid tokens")
    }

    #[test]
    fn files_that_import_each_other_are_a_circle() {
        let both = [("a", "use crate::b::B;"), ("b", "use super::a::{A, other};")];
        assert_eq!(breaches(&both), ["x: files import each other in a circle: a, b"]);
        assert_eq!(breaches(&[both[0], ("b", "pub struct B;")]), [""; 0]);
        let through = [("a", "use crate::b::B;"), ("b", "use crate::c::d::D;"), ("c/d", "use crate::a::A;")];
        assert_eq!(breaches(&through), ["x: files import each other in a circle: a, b, c/d"]);
    }

    #[test]
    fn paths_in_code_count_like_imports() {
        for text in ["fn f() { crate::a::f() }", "fn f() { log!(\"{}\", super::a::NAME) }", "impl T for crate::a::A {}"]
        {
            assert_eq!(breaches(&[("a", "use crate::b;"), ("b", text)]).len(), 1, "{text}");
        }
        for text in ["// crate::a::A", "const TEXT: &str = \"crate::a::A\";", "pub(crate) fn f() -> impl T + use<> {}"]
        {
            assert_eq!(breaches(&[("a", "use crate::b;"), ("b", text)]), [""; 0], "{text}");
        }
    }

    #[test]
    fn reexports_lead_to_the_file_that_defines_an_item() {
        let lib = ("lib", "mod a; mod b; mod c; pub use a::A; pub(crate) use c::{self as other, C};");
        assert_eq!(breaches(&[lib, ("a", "use crate::b::B;"), ("b", "use crate::A;")]).len(), 1);
        assert_eq!(
            breaches(&[
                lib,
                ("c/mod", "mod d; pub(crate) use d::C;"),
                ("c/d", "use crate::b::B;"),
                ("b", "use crate::C;")
            ])
            .len(),
            1
        );
        assert_eq!(breaches(&[lib, ("a", "use crate::b::B;"), ("b", "use crate::C;"), ("c", "")]), [""; 0]);
    }

    #[test]
    fn tests_and_modules_inside_a_module_do_not_count() {
        let tests = "#[cfg(test)] mod tests { use crate::a::A; } #[cfg(test)] use crate::a::B;";
        assert_eq!(breaches(&[("a", "use crate::b::B;"), ("b", tests)]), [""; 0]);
        assert_eq!(breaches(&[("a", "use crate::b::B;"), ("b/tests", "use crate::a::A;"), ("b/mod", "")]), [""; 0]);
        assert_eq!(breaches(&[("a/mod", "use self::b::B;"), ("a/b", "use super::A;")]), [""; 0]);
    }
}
