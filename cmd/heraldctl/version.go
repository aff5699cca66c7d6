// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/cmd/internal/daemon"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of heraldctl",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version())
			return err
		},
	}
}

// version returns "heraldctl v1.2.3 go1.26.0 linux/amd64".
func version() string {
	return fmt.Sprintf("heraldctl %s %s %s/%s", daemon.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
