// SPDX-License-Identifier: Apache-2.0

package herald_test

import (
	"fmt"
	"go/ast"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const acceptanceFile = "lab/testdata/acceptance.txt"

// openItems is how many items of acceptanceFile no test proves yet.
const openItems = 1

// An acceptanceItem is a line of acceptanceFile.
type acceptanceItem struct {
	asks  string // what it asks for
	not   string // why it does not apply to Herald, if it does not
	open  string // why no test proves it, if none does
	proof []string
}

// TestAcceptance wants each item of acceptanceFile to be named by a test that proves
// it, or to say why there is none.
func TestAcceptance(t *testing.T) {
	text, err := os.ReadFile(acceptanceFile)
	if err != nil {
		t.Fatal(err)
	}
	items, err := acceptanceItems(string(text))
	if err != nil {
		t.Fatalf("%s: %v", acceptanceFile, err)
	}
	files := map[string]*ast.File{}
	for _, dir := range packages(t) {
		maps.Copy(files, dir)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, c := range citations(files[name]) {
			if c.err != nil {
				t.Errorf("%s: %v", name, c.err)
			}
			for _, id := range c.items {
				if items[id] == nil {
					t.Errorf("%s: %s names %s, which is not in %s", name, c.test, id, acceptanceFile)
					continue
				}
				items[id].proof = append(items[id].proof, c.test)
			}
		}
	}
	var open, proven, not int
	for _, id := range slices.Sorted(maps.Keys(items)) {
		i := items[id]
		switch marked := i.not != "" || i.open != ""; {
		case marked && len(i.proof) > 0:
			t.Errorf("%s: the list says that no test proves it, but %s does", id, i.proof[0])
		case !marked && len(i.proof) == 0:
			t.Errorf("%s: no test names it: %s", id, i.asks)
		case i.open != "":
			open++
			t.Logf("open: %s: %s: %s", id, i.asks, i.open)
		case i.not != "":
			not++
		default:
			proven++
		}
	}
	t.Logf("%d items: %d proven, %d not applicable, %d open", len(items), proven, not, open)
	if open != openItems {
		t.Errorf("%d items are open, want %d: prove them, or write the lower number here", open, openItems)
	}
}

// acceptanceLine is an item: its number, what it asks for, and perhaps why no test
// names it.
var acceptanceLine = regexp.MustCompile(`^([BLCNW]\d{3}) ([^|]+?)(?: \| (not applicable|open): (\S.*))?$`)

// acceptanceItems reads the list of items by their numbers. Blank lines and lines
// that begin with # say nothing.
func acceptanceItems(text string) (map[string]*acceptanceItem, error) {
	items := map[string]*acceptanceItem{}
	for n, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m := acceptanceLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("line %d: %q is no item: want a number, what it asks for, and \" | open: \" or \" | not applicable: \" with a reason if no test names it", n+1, line)
		}
		if items[m[1]] != nil {
			return nil, fmt.Errorf("line %d: %s is there already", n+1, m[1])
		}
		i := &acceptanceItem{asks: m[2]}
		if m[3] == "open" {
			i.open = m[4]
		} else {
			i.not = m[4]
		}
		items[m[1]] = i
	}
	return items, nil
}

// A citation is a line of a comment that names items.
type citation struct {
	test  string // in whose comment or body it is
	items []string
	err   error
}

// citations returns those of a file. One that is not about a test is a mistake.
func citations(f *ast.File) (all []citation) {
	for _, group := range f.Comments {
		for _, comment := range group.List {
			text, ok := strings.CutPrefix(comment.Text, "// Acceptance:")
			if !ok {
				continue
			}
			c := citation{}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				inside := d.Pos() <= comment.Pos() && comment.End() <= d.End()
				if ok && strings.HasPrefix(fn.Name.Name, "Test") && (group == fn.Doc || inside) {
					c.test = fn.Name.Name
				}
			}
			if c.items, c.err = citedItems(text); c.err == nil && c.test == "" {
				c.err = fmt.Errorf("%q is about no test: it belongs in a test or in its comment", comment.Text)
			}
			all = append(all, c)
		}
	}
	return all
}

// citedRange is one item, or the first and the last of several.
var citedRange = regexp.MustCompile(`^([BLCNW])(\d{3})(?:-([BLCNW])(\d{3}))?$`)

// citedItems returns the items of a list such as " L027-L030, L033.".
func citedItems(text string) (items []string, err error) {
	list, ok := strings.CutSuffix(text, ".")
	list, space := strings.CutPrefix(list, " ")
	if !ok || !space {
		return nil, fmt.Errorf("%q is no list of items: it begins with a space and ends with a full stop", text)
	}
	for part := range strings.SplitSeq(list, ", ") {
		m := citedRange.FindStringSubmatch(part)
		if m == nil {
			return nil, fmt.Errorf("%q in %q is neither an item such as L033 nor a range such as L027-L030", part, text)
		}
		if m[3] == "" {
			m[3], m[4] = m[1], m[2]
		}
		first, _ := strconv.Atoi(m[2])
		last, _ := strconv.Atoi(m[4])
		if m[1] != m[3] || first > last {
			return nil, fmt.Errorf("%q in %q is no range", part, text)
		}
		for ; first <= last; first++ {
			items = append(items, fmt.Sprintf("%s%03d", m[1], first))
		}
	}
	return items, nil
}

// TestAcceptanceForms wants mistakes in the list and in citations to be found.
func TestAcceptanceForms(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{" L027-L030, L033.", "[L027 L028 L029 L030 L033] <nil>"},
		{" B001.", "[B001] <nil>"},
		{" L033", `[] " L033" is no list of items: it begins with a space and ends with a full stop`},
		{"L033.", `[] "L033." is no list of items: it begins with a space and ends with a full stop`},
		{" L033 and L034.", `[] "L033 and L034" in " L033 and L034." is neither an item such as L033 nor a range such as L027-L030`},
		{" L034-L033.", `[] "L034-L033" in " L034-L033." is no range`},
		{" B034-L035.", `[] "B034-L035" in " B034-L035." is no range`},
	} {
		items, err := citedItems(test.text)
		if got := fmt.Sprint(items, err); got != test.want {
			t.Errorf("%q: got %s, want %s", test.text, got, test.want)
		}
	}
	for _, text := range []string{"L001", "l001 reach it", "L001 reach it | later", "L001 reach it | open: ", "L001 reach it\nL001 again"} {
		if _, err := acceptanceItems(text); err == nil {
			t.Errorf("%q is taken for a list", text)
		}
	}
}
