// Package sourcerules checks the source of the module against its rules, those
// that no linter knows.
package sourcerules

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	module   = "github.com/seed16c515c6/timewait"
	maxLines = 400
)

// public are the packages for users, with what they may import besides the
// standard library. A path that ends in / is all below it.
var public = map[string][]string{
	"tcpstate": {},
	"sysctl":   {module + "/internal/netns"},
	"sockdiag": {module + "/tcpstate", module + "/internal/", "github.com/mdlayher/netlink", "golang.org/x/sys/"},

	"sockdiag/owner":  {"golang.org/x/sys/"},
	"sockdiag/health": {module + "/sockdiag", module + "/sockdiag/owner", module + "/tcpstate", module + "/sysctl", module + "/internal/"},
}

// testOnly are packages that nothing but tests imports.
var testOnly = []string{"/internal/nstest", "/internal/btf", "/internal/capture", "/internal/cli/clitest"}

func TestRules(t *testing.T) {
	root := os.DirFS("../..")
	files := 0
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != "."):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		files++
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		for _, complaint := range check(name, src) {
			t.Error(complaint)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 40 {
		t.Errorf("only %d files found: this is not the module's root", files)
	}
}

// check returns what is wrong with a file. Its name is from the module's root.
func check(name string, src []byte) (complaints []string) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}
	}
	complain := func(at ast.Node, format string, args ...any) {
		complaints = append(complaints, fmt.Sprintf("%v: %s", fset.Position(at.Pos()), fmt.Sprintf(format, args...)))
	}
	if lines := bytes.Count(src, []byte("\n")); lines > maxLines && !ast.IsGenerated(file) {
		complain(file, "%d lines, at most %d", lines, maxLines)
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			complain(f, "init function")
		}
	}

	dir := path.Dir(name)
	allowed, isPublic := public[dir]
	for _, spec := range file.Imports {
		imported := strings.Trim(spec.Path.Value, "`\"")
		if isPublic && !mayImport(imported, allowed) {
			complain(spec, "%s imports %s", dir, imported)
		}
		if imported == "log" && !strings.HasPrefix(name, "examples/") && !strings.HasPrefix(name, "internal/cmd/") {
			complain(spec, "a library returns errors, and logs nothing")
		}
		inner, ours := strings.CutPrefix(imported, module)
		for _, only := range testOnly {
			if ours && inner == only && !slices.Contains(testOnly, "/"+path.Dir(name)) {
				complain(spec, "%s is for tests", imported)
			}
		}
	}
	if isPublic {
		undocumented(file, complain)
	}
	return complaints
}

func mayImport(imported string, allowed []string) bool {
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	return slices.ContainsFunc(allowed, func(a string) bool {
		return imported == a || strings.HasSuffix(a, "/") && strings.HasPrefix(imported, a)
	})
}

// undocumented complains about exported names without a comment of their own. A
// group of constants or variables may have one for all.
func undocumented(file *ast.File, complain func(at ast.Node, format string, args ...any)) {
	need := func(id *ast.Ident, comments ...*ast.CommentGroup) {
		if id.IsExported() && !slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool { return c.Text() != "" }) {
			complain(id, "%s has no comment", id.Name)
		}
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			// What Error returns needs no saying.
			if d.Recv == nil || exportedType(d.Recv.List[0].Type) && d.Name.Name != "Error" {
				need(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					for _, id := range s.Names {
						need(id, s.Doc, s.Comment, d.Doc)
					}
				case *ast.TypeSpec:
					need(s.Name, s.Doc, s.Comment, d.Doc)
					if s.Name.IsExported() {
						undocumentedMembers(s.Type, need)
					}
				}
			}
		}
	}
}

func undocumentedMembers(typ ast.Expr, need func(*ast.Ident, ...*ast.CommentGroup)) {
	var fields *ast.FieldList
	switch t := typ.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	default:
		return
	}
	for _, f := range fields.List {
		for _, id := range f.Names {
			need(id, f.Doc, f.Comment)
		}
		undocumentedMembers(f.Type, need)
	}
}

func exportedType(receiver ast.Expr) bool { return ast.IsExported(baseName(receiver)) }

// baseName is T of T, *T and T[P].
func baseName(typ ast.Expr) string {
	switch t := typ.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.StarExpr:
		return baseName(t.X)
	case *ast.IndexExpr:
		return baseName(t.X)
	case *ast.IndexListExpr:
		return baseName(t.X)
	}
	return ""
}
