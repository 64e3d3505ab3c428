package sockdiag

import "strings"

// token is a word of the filter language, or a sign.
type token struct {
	kind    tokenKind
	text    string // without the backslashes
	pos     int    // where in the input it begins
	end     int    // and what is behind it
	escaped bool   // it has a backslash, and so is no keyword
}

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenOpen
	tokenClose
	tokenAnd
	tokenOr
	tokenNot
	tokenEQ
	tokenNE
	tokenLT
	tokenGT
	tokenLE
	tokenGE
)

// signs are what needs no white space around it. Longer ones come first.
var signs = [...]struct {
	text string
	kind tokenKind
}{
	{"==", tokenEQ}, {"!=", tokenNE}, {"<=", tokenLE}, {">=", tokenGE}, {"&&", tokenAnd}, {"||", tokenOr},
	{"=", tokenEQ}, {"!", tokenNot}, {"<", tokenLT}, {">", tokenGT}, {"&", tokenAnd}, {"|", tokenOr},
	{"(", tokenOpen}, {")", tokenClose},
}

// wordKinds are the words that stand for signs.
var wordKinds = map[string]tokenKind{
	"and": tokenAnd, "or": tokenOr, "not": tokenNot,
	"eq": tokenEQ, "ne": tokenNE, "neq": tokenNE, "lt": tokenLT, "gt": tokenGT,
	"le": tokenLE, "leq": tokenLE, "ge": tokenGE, "geq": tokenGE,
}

// isKeyword reports whether a word can be no name without a backslash.
func isKeyword(word string) bool {
	switch word {
	case "src", "dst", "sport", "dport", "dev", "fwmark", "cgroup", "autobound":
		return true
	}
	return wordKinds[word] != tokenEnd
}

// lex returns the token that begins at pos or after white space there.
func lex(input string, pos int) token {
	for pos < len(input) && isSpace(input[pos]) {
		pos++
	}
	if pos == len(input) {
		return token{kind: tokenEnd, pos: pos, end: pos}
	}
	for _, s := range signs {
		if strings.HasPrefix(input[pos:], s.text) {
			return token{kind: s.kind, text: s.text, pos: pos, end: pos + len(s.text)}
		}
	}
	t := lexWord(input, pos, func(c byte) bool { return strings.IndexByte("=<>!&|", c) >= 0 })
	if kind, ok := wordKinds[t.text]; ok && !t.escaped {
		t.kind = kind
	}
	return t
}

// lexName returns the name that begins at t, a token that is not a sign. It goes
// on to white space or a parenthesis: what are signs elsewhere may be part of it.
func lexName(input string, t token) token {
	return lexWord(input, t.pos, func(byte) bool { return false })
}

// lexWord reads to white space, a parenthesis or what else ends the word. A
// backslash makes the character behind it an ordinary one.
func lexWord(input string, pos int, ends func(byte) bool) token {
	t := token{kind: tokenWord, pos: pos}
	var text strings.Builder
	for ; pos < len(input); pos++ {
		c := input[pos]
		if c == '\\' && pos+1 < len(input) {
			t.escaped = true
			pos++
			c = input[pos]
		} else if isSpace(c) || isParenthesis(c) || ends(c) {
			break
		}
		text.WriteByte(c)
	}
	t.text, t.end = text.String(), pos
	return t
}

func isSpace(c byte) bool       { return c == ' ' || '\t' <= c && c <= '\r' }
func isParenthesis(c byte) bool { return c == '(' || c == ')' }
func isDigit(c byte) bool       { return '0' <= c && c <= '9' }
