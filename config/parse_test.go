// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/config"
)

var update = flag.Bool("update", false, "rewrite the expected parts of testdata/config")

// corpus is where each file is a case: config.yaml or manifest.yaml, and what
// becomes of it.
const corpus = "../testdata/config"

func TestParseGood(t *testing.T) {
	eachCase(t, "good", func(t *testing.T, parse func() (*config.Config, error), want part) {
		cfg, err := parse()
		if err != nil {
			t.Fatalf("want no error, got\n%v", err)
		}
		checkInvariants(t, cfg)
		want("config.json", golden(t, cfg))
		want("warnings", lines(cfg.Warnings()))
	})
}

func TestParseBad(t *testing.T) {
	eachCase(t, "bad", func(t *testing.T, parse func() (*config.Config, error), want part) {
		cfg, err := parse()
		if cfg != nil || err == nil {
			t.Fatalf("want an error, got %s", golden(t, cfg))
		}
		var all config.Errors
		if !errors.As(err, &all) {
			t.Fatalf("want config.Errors, got %T", err)
		}
		for _, e := range all {
			if e.Line < 1 || e.Reason == "" || strings.Contains(e.Reason, "\n") {
				t.Errorf("want a line number and a reason of one line, got %#v", e)
			}
		}
		// No case may show a password, and all have the same.
		if strings.Contains(err.Error(), "correct-horse") {
			t.Error("a password is shown")
		}
		want("errors", lines([]string{err.Error()}))
	})
}

// A part compares a part of a case's file with what was found, or with -update
// replaces it.
type part func(name string, got []byte)

// eachCase runs check for each file of a directory of the corpus.
func eachCase(t *testing.T, dir string, check func(*testing.T, func() (*config.Config, error), part)) {
	files, err := filepath.Glob(filepath.Join(corpus, dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s (%v)", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parse := func() (*config.Config, error) {
				if ar.Files[0].Name == "manifest.yaml" {
					return config.ParseConfigMap(ar.Files[0].Data)
				}
				whole, wholeErr := config.ParseConfigMap(ar.Files[0].Data)
				bare, bareErr := config.Parse(ar.Files[0].Data)
				if diff := cmp.Diff(golden(t, bare), golden(t, whole)); diff != "" {
					t.Errorf("Parse and ParseConfigMap differ (-bare +whole):\n%s", diff)
				}
				if bareErr != nil && (wholeErr == nil || wholeErr.Error() != bareErr.Error()) {
					t.Errorf("Parse and ParseConfigMap differ:\n%v\n%v", bareErr, wholeErr)
				}
				return bare, bareErr
			}
			expected := ar.Files[:1:1]
			check(t, parse, func(name string, got []byte) {
				if len(got) > 0 {
					expected = append(expected, txtar.File{Name: name, Data: got})
				}
				if *update {
					return
				}
				if diff := cmp.Diff(string(data(ar, name)), string(got)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			})
			if *update {
				ar.Files = expected
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// data returns a file of ar, nil if there is none.
func data(ar *txtar.Archive, name string) []byte {
	i := slices.IndexFunc(ar.Files, func(f txtar.File) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return ar.Files[i].Data
}

// lines ends each line with a newline.
func lines(all []string) []byte {
	if len(all) == 0 {
		return nil
	}
	return []byte(strings.Join(all, "\n") + "\n")
}

// golden returns cfg as JSON without what is zero.
func golden(t *testing.T, cfg *config.Config) []byte {
	t.Helper()
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	b, err = json.MarshalIndent(prune(v), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// prune removes the zero members of objects, and objects that have no others.
func prune(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
	case map[string]any:
		for k, member := range v {
			switch member {
			case nil, "", false, json.Number("0"):
				if _, timer := strings.CutSuffix(k, "Time"); timer && member != nil {
					continue // 0 is a time
				}
				delete(v, k)
			default:
				v[k] = prune(member)
				if inner, object := v[k].(map[string]any); object && len(inner) == 0 {
					delete(v, k)
				}
			}
		}
	}
	return v
}
