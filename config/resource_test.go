// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/config"
)

const resourceCorpus = "../testdata/resources"

// TestResources resolves each file of the corpus. In a file "a.yaml" comes
// first; further files named "b.yaml", "c.yaml"… are later states of the
// cluster. Each is followed by what is in force, what is refused, the notes, and
// what the message of an object says besides these.
func TestResources(t *testing.T) {
	for _, dir := range []string{"good", "bad"} {
		files, err := filepath.Glob(filepath.Join(resourceCorpus, dir, "*.txtar"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no cases in %s (%v)", dir, err)
		}
		for _, file := range files {
			t.Run(dir+"/"+strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
				testResources(t, file, dir == "good")
			})
		}
	}
}

func testResources(t *testing.T, file string, good bool) {
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var files []txtar.File
	expect := func(name string, got []byte) {
		if len(got) > 0 {
			files = append(files, txtar.File{Name: name, Data: got})
		}
		if *update {
			return
		}
		if diff := cmp.Diff(string(data(ar, name)), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	var state config.Resolved
	refused := false
	for _, f := range ar.Files {
		step, ok := strings.CutSuffix(f.Name, ".yaml")
		if !ok {
			continue
		}
		files = append(files, f)
		res, _, err := config.ReadResources(f.Data)
		if err != nil {
			expect(step+".error", lines([]string{err.Error()}))
			refused = true
			continue
		}
		state = state.Next(res)
		again := state.Next(res)
		if again.Config != state.Config {
			t.Errorf("%s: the same objects make another Config", f.Name)
		}
		if diff := cmp.Diff(state.Verdicts, again.Verdicts, cmp.Comparer(func(a, b config.Selector) bool { return a.Equal(b) })); diff != "" {
			t.Errorf("%s: the same objects have other verdicts (-first +second):\n%s", f.Name, diff)
		}
		var no, notes, told []string
		for _, v := range state.Verdicts {
			if warning, ok := strings.CutPrefix(v.Message, strings.Join(append([]string{"in force"}, v.Notes...), "; ")); ok && warning != "" {
				told = append(told, v.ID.String()+warning)
			}
			for _, n := range v.Notes {
				notes = append(notes, v.ID.String()+": "+n)
			}
		}
		for _, v := range state.Refused() {
			no = append(no, v.ID.String()+": "+v.Reason+": "+v.Message)
		}
		refused = refused || len(no) > 0
		expect(step+".json", golden(t, state.Config))
		expect(step+".refused", lines(no))
		expect(step+".notes", lines(notes))
		expect(step+".told", lines(told))
		if bytes.Contains([]byte(strings.Join(no, "")), []byte("correct-horse")) {
			t.Error("a password is shown")
		}
	}
	if refused == good {
		t.Errorf("something is refused: %v", refused)
	}
	if *update {
		ar.Files = files
		if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
