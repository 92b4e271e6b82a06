//! A parsed template.

use std::sync::Arc;

/// A template, with the parts that values refer to by their index.
#[derive(Debug, Default)]
pub(super) struct Template {
    pub(super) body: Vec<Statement>,
    /// Macros and the bodies of `call` blocks.
    pub(super) macros: Vec<Macro>,
    pub(super) recursive_loops: Vec<Loop>,
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) line: u32,
    pub(super) kind: StatementKind,
}

#[derive(Debug)]
pub(super) enum StatementKind {
    Text(String),
    Print(Vec<Expression>),
    For(Box<Loop>),
    /// A loop that may call itself: an index into [`Template::recursive_loops`].
    RecursiveFor(usize),
    If {
        branches: Vec<(Expression, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
    Set {
        target: Target,
        value: Expression,
    },
    SetBlock {
        target: Target,
        filters: Vec<Filter>,
        body: Vec<Statement>,
    },
    With {
        variables: Vec<(Target, Expression)>,
        body: Vec<Statement>,
    },
    /// Defines the macro with this index.
    Macro(usize),
    /// Calls with the macro of this index as its `caller`.
    Call {
        caller: usize,
        call: Expression,
    },
    /// `{% generation %}` marks what the assistant says; it is a `caller` of its own.
    Generation(Vec<Statement>),
    Filter {
        filters: Vec<Filter>,
        body: Vec<Statement>,
    },
    Block(Vec<Statement>),
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct Loop {
    pub(super) target: Target,
    pub(super) iterable: Expression,
    pub(super) condition: Option<Expression>,
    pub(super) body: Vec<Statement>,
    pub(super) otherwise: Vec<Statement>,
    /// Whether the body may read `loop`.
    pub(super) uses_loop: bool,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub(super) name: Arc<str>,
    pub(super) parameters: Vec<(Arc<str>, Option<Expression>)>,
    pub(super) body: Vec<Statement>,
    pub(super) uses: Uses,
}

/// The names that a macro or a loop only has where it mentions them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Uses {
    pub(super) caller: bool,
    pub(super) r#loop: bool,
    pub(super) kwargs: bool,
    pub(super) varargs: bool,
}

/// What a value is assigned to.
#[derive(Debug)]
pub(super) enum Target {
    Name(Arc<str>),
    Attribute { object: Arc<str>, name: Arc<str> },
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(super) struct Filter {
    pub(super) name: Arc<str>,
    pub(super) arguments: Arguments,
}

#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expression>,
    pub(super) named: Vec<(Arc<str>, Expression)>,
    pub(super) list: Option<Box<Expression>>,
    pub(super) dict: Option<Box<Expression>>,
}

/// An expression, which knows how deep it is.
#[derive(Debug)]
pub(super) struct Expression {
    pub(super) kind: ExpressionKind,
    pub(super) depth: usize,
}

#[derive(Debug)]
pub(super) enum ExpressionKind {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Name(Arc<str>),
    List(Vec<Expression>),
    Tuple(Vec<Expression>),
    Dict(Vec<(Expression, Expression)>),
    Attribute(Box<Expression>, Arc<str>),
    Item(Box<Expression>, Box<Expression>),
    Slice(Box<Expression>, [Option<Box<Expression>>; 3]),
    Call(Box<Expression>, Arguments),
    Filter(Box<Expression>, Filter),
    Test(Box<Expression>, Filter),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Positive(Box<Expression>),
    Arithmetic(Operator, Box<Expression>, Box<Expression>),
    Concat(Vec<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Compare(Box<Expression>, Vec<(Comparison, Expression)>),
    Condition {
        test: Box<Expression>,
        then: Box<Expression>,
        otherwise: Option<Box<Expression>>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

impl Expression {
    pub(super) fn new(kind: ExpressionKind) -> Self {
        let mut depth = 0;
        kind.for_each_child(&mut |child| depth = depth.max(child.depth));
        Self {
            kind,
            depth: depth + 1,
        }
    }
}

impl ExpressionKind {
    fn for_each_child(&self, visit: &mut dyn FnMut(&Expression)) {
        match self {
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Float(_) => {}
            Self::Str(_) | Self::Name(_) => {}
            Self::List(items) | Self::Tuple(items) | Self::Concat(items) => {
                items.iter().for_each(visit);
            }
            Self::Dict(entries) => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Self::Attribute(value, _)
            | Self::Not(value)
            | Self::Negative(value)
            | Self::Positive(value) => visit(value),
            Self::Item(left, right)
            | Self::Arithmetic(_, left, right)
            | Self::And(left, right)
            | Self::Or(left, right) => {
                visit(left);
                visit(right);
            }
            Self::Slice(value, bounds) => {
                visit(value);
                bounds.iter().flatten().for_each(|bound| visit(bound));
            }
            Self::Call(value, arguments) => {
                visit(value);
                arguments.for_each(visit);
            }
            Self::Filter(value, filter) | Self::Test(value, filter) => {
                visit(value);
                filter.arguments.for_each(visit);
            }
            Self::Compare(first, rest) => {
                visit(first);
                rest.iter().for_each(|(_, value)| visit(value));
            }
            Self::Condition {
                test,
                then,
                otherwise,
            } => {
                visit(test);
                visit(then);
                otherwise.iter().for_each(|value| visit(value));
            }
        }
    }
}

impl Arguments {
    fn for_each(&self, visit: &mut dyn FnMut(&Expression)) {
        self.positional.iter().for_each(&mut *visit);
        self.named.iter().for_each(|(_, value)| visit(value));
        self.list.iter().for_each(|value| visit(value));
        self.dict.iter().for_each(|value| visit(value));
    }
}
