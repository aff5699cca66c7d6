// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStream(t *testing.T) {
	tests := []struct {
		name, in, want string
		code           int
	}{
		{"output of what passes is left out", `
{"Action":"start","Package":"github.com/heraldlb/herald/alloc"}
{"Action":"run","Package":"github.com/heraldlb/herald/alloc","Test":"TestKeep"}
{"Action":"output","Package":"github.com/heraldlb/herald/alloc","Test":"TestKeep","Output":"=== RUN   TestKeep\n"}
{"Action":"output","Package":"github.com/heraldlb/herald/alloc","Test":"TestKeep","Output":"noise\n"}
{"Action":"pass","Package":"github.com/heraldlb/herald/alloc","Test":"TestKeep","Elapsed":0.1}
{"Action":"run","Package":"github.com/heraldlb/herald/alloc","Test":"TestLong"}
{"Action":"pass","Package":"github.com/heraldlb/herald/alloc","Test":"TestLong/part","Elapsed":2.5}
{"Action":"pass","Package":"github.com/heraldlb/herald/alloc","Test":"TestLong","Elapsed":2.5}
{"Action":"output","Package":"github.com/heraldlb/herald/alloc","Output":"PASS\n"}
{"Action":"pass","Package":"github.com/heraldlb/herald/alloc","Elapsed":2.7}
`, `
ok   alloc TestLong (2.5s)
ok   alloc: 2 tests (2.7s)
`, 0},
		{"output of what fails is shown in full", `
{"Action":"run","Package":"github.com/heraldlb/herald","Test":"TestA"}
{"Action":"run","Package":"github.com/heraldlb/herald","Test":"TestB"}
{"Action":"output","Package":"github.com/heraldlb/herald","Test":"TestA","Output":"noise\n"}
{"Action":"output","Package":"github.com/heraldlb/herald","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"run","Package":"github.com/heraldlb/herald","Test":"TestB/sub"}
{"Action":"output","Package":"github.com/heraldlb/herald","Test":"TestB/sub","Output":"    b_test.go:8: got 1, "}
{"Action":"output","Package":"github.com/heraldlb/herald","Test":"TestB/sub","Output":"want 2\n"}
{"Action":"fail","Package":"github.com/heraldlb/herald","Test":"TestB/sub","Elapsed":0}
{"Action":"output","Package":"github.com/heraldlb/herald","Test":"TestB","Output":"--- FAIL: TestB (0.00s)\n"}
{"Action":"pass","Package":"github.com/heraldlb/herald","Test":"TestA","Elapsed":0}
{"Action":"fail","Package":"github.com/heraldlb/herald","Test":"TestB","Elapsed":0}
{"Action":"output","Package":"github.com/heraldlb/herald","Output":"FAIL\n"}
{"Action":"fail","Package":"github.com/heraldlb/herald","Elapsed":0.5}
`, `
FAIL . TestB (0.0s)
=== RUN   TestB
    b_test.go:8: got 1, want 2
--- FAIL: TestB (0.00s)
FAIL .: 2 tests (0.5s)
FAIL
`, 1},
		{"reason of what is skipped", `
{"Action":"output","Package":"github.com/heraldlb/herald/lab","Test":"TestBGP","Output":"    need.go:9: need root\n"}
{"Action":"skip","Package":"github.com/heraldlb/herald/lab","Test":"TestBGP","Elapsed":0}
{"Action":"pass","Package":"github.com/heraldlb/herald/lab","Elapsed":0.1}
{"Action":"output","Package":"github.com/heraldlb/herald/deploy","Output":"?   \tgithub.com/heraldlb/herald/deploy\t[no test files]\n"}
{"Action":"skip","Package":"github.com/heraldlb/herald/deploy","Elapsed":0}
`, `
skip lab TestBGP (0.0s)
    need.go:9: need root
ok   lab: 1 tests (0.1s)
`, 0},
		{"build fails", `
{"ImportPath":"github.com/heraldlb/herald/alloc","Action":"build-output","Output":"# github.com/heraldlb/herald/alloc\n"}
{"ImportPath":"github.com/heraldlb/herald/alloc","Action":"build-output","Output":"alloc/a.go:3:1: syntax error\n"}
{"ImportPath":"github.com/heraldlb/herald/alloc","Action":"build-fail"}
{"Action":"start","Package":"github.com/heraldlb/herald/alloc"}
{"Action":"output","Package":"github.com/heraldlb/herald/alloc","Output":"FAIL\tgithub.com/heraldlb/herald/alloc [build failed]\n"}
{"Action":"fail","Package":"github.com/heraldlb/herald/alloc","Elapsed":0,"FailedBuild":"github.com/heraldlb/herald/alloc"}
`, `
# github.com/heraldlb/herald/alloc
alloc/a.go:3:1: syntax error
FAIL alloc: 0 tests (0.0s)
FAIL	github.com/heraldlb/herald/alloc [build failed]
`, 1},
		{"panic ends tests", `
{"Action":"run","Package":"github.com/heraldlb/herald/l2","Test":"TestA"}
{"Action":"output","Package":"github.com/heraldlb/herald/l2","Test":"TestA","Output":"panic: no\n"}
{"Action":"run","Package":"github.com/heraldlb/herald/l2","Test":"TestB"}
{"Action":"fail","Package":"github.com/heraldlb/herald/l2","Elapsed":0.3}
`, `
FAIL l2 TestA (0.0s)
panic: no
FAIL l2 TestB (0.0s)
FAIL l2: 2 tests (0.3s)
`, 1},
		{"go test is killed", `
{"Action":"run","Package":"github.com/heraldlb/herald/l2","Test":"TestA"}
{"Action":"output","Package":"github.com/heraldlb/herald/l2","Test":"TestA","Output":"waiting"}
`, `
FAIL l2 TestA (0.0s)
waiting
FAIL l2: 1 tests (0.0s)
`, 1},
		{"lines that are no events", `
hello
{"Action":"pass","Package":"github.com/heraldlb/herald/l2","Elapsed":0.3}
{hello}
`, `
hello
ok   l2: 0 tests (0.3s)
{hello}
`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs strings.Builder
			code := run(nil, strings.NewReader(tt.in[1:]), &out, &errs)
			if diff := cmp.Diff(tt.want[1:], out.String()); diff != "" || code != tt.code || errs.String() != "" {
				t.Errorf("exit status %d, want %d; errors %q; output (-want +got):\n%s", code, tt.code, errs.String(), diff)
			}
		})
	}
}

// TestTable follows two runs that use one record, and prints it.
func TestTable(t *testing.T) {
	dir := t.TempDir()
	record, parts := filepath.Join(dir, "record"), filepath.Join(dir, "parts")
	runs := []string{`
{"Action":"pass","Package":"github.com/heraldlb/herald/lab/bgp","Test":"TestA","Elapsed":1.5}
{"Action":"pass","Package":"github.com/heraldlb/herald/lab/bgp","Test":"TestB","Elapsed":0.5}
{"Action":"pass","Package":"github.com/heraldlb/herald/lab/bgp","Test":"TestC","Elapsed":12}
{"Action":"pass","Package":"github.com/heraldlb/herald/lab/bgp","Test":"TestD","Elapsed":3}
{"Action":"pass","Package":"github.com/heraldlb/herald/lab/bgp","Test":"TestE","Elapsed":4}
{"Action":"pass","Package":"github.com/heraldlb/herald/lab/bgp","Test":"TestF","Elapsed":5}
{"Action":"pass","Package":"github.com/heraldlb/herald/lab/bgp","Test":"TestG","Elapsed":6}
{"Action":"pass","Package":"github.com/heraldlb/herald/lab/bgp","Elapsed":40}
`, `
{"Action":"pass","Package":"github.com/heraldlb/herald/alloc","Test":"TestA","Elapsed":0.5}
{"Action":"fail","Package":"github.com/heraldlb/herald/alloc","Test":"TestB","Elapsed":0.5}
{"Action":"skip","Package":"github.com/heraldlb/herald/alloc","Test":"TestC","Elapsed":0}
{"Action":"fail","Package":"github.com/heraldlb/herald/alloc","Elapsed":1}
{"Action":"fail","Package":"github.com/heraldlb/herald/l2","Elapsed":0}
`}
	for i, in := range runs {
		var out, errs strings.Builder
		if code := run([]string{"-record", record}, strings.NewReader(in), &out, &errs); code != i {
			t.Fatalf("run %d: exit status %d: %s%s", i, code, out.String(), errs.String())
		}
	}
	err := os.WriteFile(parts, []byte(`{"part":"check","result":"pass","seconds":61}
{"part":"demo","result":"fail","seconds":9}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	if code := run([]string{"-table", parts, record, filepath.Join(dir, "none")}, nil, &out, &errs); code != 0 {
		t.Fatalf("exit status %d: %s", code, errs.String())
	}
	const want = `
part   result  seconds
check  pass       61.0
demo   fail        9.0

area     result               tests  seconds  slowest
alloc    1 failed, 1 skipped      3      1.0  
l2       fail                     0      0.0  
lab/bgp  pass                     7     40.0  TestC 12.0, TestG 6.0, TestF 5.0, TestE 4.0, TestD 3.0
all      1 failed, 1 skipped     10           lab/bgp TestC 12.0, lab/bgp TestG 6.0, lab/bgp TestF 5.0, lab/bgp TestE 4.0, lab/bgp TestD 3.0

fail alloc TestB
skip alloc TestC
`
	if diff := cmp.Diff(want[1:], out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
