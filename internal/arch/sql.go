package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// checkSQL wants every table that a service's SQL names in braces, in its Go files and its migrations. The store turns
// {balance} into the service's own table of that name; a name without braces would be somebody else's.
func checkSQL(t *tree) []Violation {
	var found []Violation
	for _, dir := range t.services() {
		for _, f := range t.dirs[dir] {
			if f.test {
				continue
			}
			for _, text := range texts(f.ast) {
				for _, table := range bareTables(text.value) {
					found = append(found, t.at(f, text.pos, "SQL names the table %s without braces: a service reaches its own tables only, as {%s}", table, table))
				}
			}
		}
		found = append(found, checkMigrationSQL(t, path.Join(dir, "migrations"))...)
	}
	return found
}

func checkMigrationSQL(t *tree, dir string) []Violation {
	files, err := fs.Glob(t.root, dir+"/*.sql")
	if err != nil {
		return []Violation{{Path: dir, Message: err.Error()}}
	}
	var found []Violation
	for _, name := range files {
		text, err := fs.ReadFile(t.root, name)
		if err != nil {
			return append(found, Violation{Path: name, Message: err.Error()})
		}
		for _, table := range bareTables(string(text)) {
			found = append(found, Violation{Path: name, Message: fmt.Sprintf("names the table %s without braces; write {%s}", table, table)})
		}
	}
	return found
}

type text struct {
	value string
	pos   token.Pos
}

// texts returns the string literals of a file; those joined by + are one, so that a statement in pieces is read whole.
// What is not a literal counts as a name without braces.
func texts(f *ast.File) []text {
	var found []text
	ast.Inspect(f, func(n ast.Node) bool {
		e, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		if value, ok := joined(e); ok {
			found = append(found, text{value, e.Pos()})
			return false
		}
		return true
	})
	return found
}

// joined returns the text of a string literal, or of a sum with one in it.
func joined(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		value, err := strconv.Unquote(e.Value)
		return value, err == nil
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			return "", false
		}
		left, leftOK := joined(e.X)
		right, rightOK := joined(e.Y)
		if !leftOK && !rightOK {
			return "", false
		}
		if !leftOK {
			left = " variable "
		}
		if !rightOK {
			right = " variable "
		}
		return left + right, true
	}
	return "", false
}

var (
	// looksLikeSQL holds for a statement. Its words are in capitals, as in all SQL here; prose is not.
	looksLikeSQL = regexp.MustCompile(`\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|FROM|JOIN)\s`)
	sqlNoise     = regexp.MustCompile(`--[^\n]*|'[^']*'`)
	sqlToken     = regexp.MustCompile(`\{\w+\}|[\w.$%"]+|[(),;]`)
)

// notTables follow UPDATE without being one: DO UPDATE SET, FOR UPDATE SKIP LOCKED.
var notTables = []string{"SET", "SKIP", "NOWAIT", "OF", "ONLY", "SELECT", "LATERAL"}

// bareTables returns the tables that SQL names without braces. It knows the part of SQL that services use: FROM with a
// list, JOIN, INTO, UPDATE, TABLE, REFERENCES, an index ON, USING, and names given by WITH.
func bareTables(sql string) []string {
	if !looksLikeSQL.MatchString(sql) {
		return nil
	}
	tokens := sqlToken.FindAllString(sqlNoise.ReplaceAllString(sql, " "), -1)
	word := func(i int) string {
		if i < 0 || i >= len(tokens) {
			return ""
		}
		return strings.ToUpper(tokens[i])
	}
	given := map[string]bool{}
	for i := range tokens {
		if word(i) == "AS" && word(i+1) == "(" {
			// name AS (...) and name (columns) AS (...)
			j := i - 1
			if word(j) == ")" {
				for j >= 0 && word(j) != "(" {
					j--
				}
				j--
			}
			given[word(j)] = true
		}
	}
	var bare []string
	check := func(i int) {
		w := word(i)
		switch {
		case w == "", w == "(", w == ")", w == ";", strings.HasPrefix(w, "{"), slices.Contains(notTables, w), given[w]:
		default:
			bare = append(bare, tokens[i])
		}
	}
	for i := range tokens {
		switch word(i) {
		case "FROM":
			if word(i-1) == "DISTINCT" && word(i-2) != "SELECT" { // IS [NOT] DISTINCT FROM
				continue
			}
			for _, at := range fromList(tokens, i+1) {
				// A function that makes rows, such as json_each(...), is nobody's table.
				if word(at+1) != "(" {
					check(at)
				}
			}
		case "JOIN":
			if word(i+2) != "(" {
				check(i + 1)
			}
		case "INTO", "REFERENCES":
			check(i + 1)
		case "UPDATE":
			if w := word(i - 1); w != "DO" && w != "FOR" && w != "ON" { // nor a foreign key's ON UPDATE
				check(i + 1)
			}
		case "TABLE":
			next := i + 1
			for slices.Contains([]string{"IF", "NOT", "EXISTS"}, word(next)) {
				next++
			}
			check(next)
		case "ON":
			if word(i-2) == "INDEX" || word(i-2) == "EXISTS" && slices.Contains(tokens[:i], "INDEX") {
				check(i + 1)
			}
		}
	}
	return bare
}

// fromList returns where the tables of a FROM list stand: a, b AS c, (SELECT ...) d.
func fromList(tokens []string, i int) []int {
	at := []int{i}
	depth := 0
	for ; i < len(tokens); i++ {
		switch strings.ToUpper(tokens[i]) {
		case "(":
			depth++
		case ")":
			depth--
		case ",":
			if depth == 0 {
				at = append(at, i+1)
			}
		case ";", "WHERE", "GROUP", "ORDER", "LIMIT", "JOIN", "SET", "ON", "UNION", "RETURNING", "HAVING", "INNER", "LEFT", "CROSS":
			if depth == 0 {
				return at
			}
		}
		if depth < 0 {
			return at
		}
	}
	return at
}
