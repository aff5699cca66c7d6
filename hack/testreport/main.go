// SPDX-License-Identifier: Apache-2.0

// Testreport makes a run of Go's tests readable. It reads the output of
// go test -json, and prints packages and slow tests as they end, with the output
// of those that fail. With -record it writes down what it saw, and with -table it
// prints such records as a table.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(args []string, in io.Reader, out, errs io.Writer) int {
	flags := flag.NewFlagSet("testreport", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Usage = func() {
		fmt.Fprintln(errs, "usage: go test -json … | testreport [-record file]\n       testreport -table file…")
		flags.PrintDefaults()
	}
	record := flags.String("record", "", "append the results to this `file`")
	table := flags.Bool("table", false, "print the results in the files that the arguments name")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *table {
		if err := printTable(out, flags.Args()); err != nil {
			fmt.Fprintf(errs, "testreport: %v\n", err)
			return 1
		}
		return 0
	}
	ok, err := follow(in, out, *record)
	if err != nil {
		fmt.Fprintf(errs, "testreport: %v\n", err)
	}
	if !ok || err != nil {
		return 1
	}
	return 0
}

// follow prints a run of tests while it reads it, and reports whether all passed.
func follow(in io.Reader, out io.Writer, record string) (ok bool, err error) {
	results := io.Discard
	if record != "" {
		if err := os.MkdirAll(filepath.Dir(record), 0o755); err != nil {
			return false, err
		}
		f, err := os.OpenFile(record, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return false, err
		}
		defer func() { err = firstError(err, f.Close()) }()
		results = f
	}
	return newStream(out, results).read(in)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
