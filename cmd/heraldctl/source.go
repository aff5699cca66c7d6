// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
)

// stdinName is the file name that stands for standard input.
const stdinName = "-"

// clusterName is the file name that stands for the API server.
const clusterName = "cluster"

// manifestExtensions are those of the files that are read in a folder, as kubectl
// does.
var manifestExtensions = []string{".yaml", ".yml", ".json"}

// A source names the files, or the cluster, that hold a configuration.
type source struct {
	files     []string // and folders
	recursive bool
	kustomize []string    // folders with a kustomization
	cluster   bool        // in addition to files
	api       *connection // reaches the cluster; it names Herald's namespace, too
	configMap string
	which     sourceFlag
}

// addFlags adds the flags of a configuration.
func (s *source) addFlags(cmd *cobra.Command, from *connection, what string) {
	s.api, s.which = from, sourceAuto
	flags := cmd.Flags()
	flags.StringArrayVarP(&s.files, "filename", "f", nil, what+": `file` or folder; - is standard input; may be repeated")
	flags.BoolVarP(&s.recursive, "recursive", "R", false, "read subfolders, too")
	flags.StringArrayVarP(&s.kustomize, "kustomize", "k", nil, what+": `folder` with a kustomization, built as \"kubectl kustomize\" does; may be repeated")
	flags.StringVar(&s.configMap, "config", "config", "`name` of the ConfigMap that Herald reads, like the daemons' flag")
	flags.Var(&s.which, "config-source", "whether ConfigMap or resources are in force, like the daemons' flag: auto, configmap or resources")
}

// configurationHelp describes the files of -f.
const configurationHelp = `All files, folders and standard input of one call are one configuration: MetalLB's
custom resources with the Secrets that they refer to, a ConfigMap of MetalLB, or the
document in one. In a folder, the files *.yaml, *.yml and *.json are read. Objects of
other kinds are ignored. Objects with a name or in a namespace that Herald does not read
are reported. A folder of -k is built by kustomize first.`

// A sourceFlag says which of the two kinds of configuration is in force. It is a
// pflag.Value.
type sourceFlag string

const (
	sourceAuto      sourceFlag = "auto"
	sourceConfigMap sourceFlag = "configmap"
	sourceResources sourceFlag = "resources"
)

// String returns f.
func (f *sourceFlag) String() string { return string(*f) }

// Type names the flag's value.
func (f *sourceFlag) Type() string { return "source" }

// Set takes auto, configmap or resources.
func (f *sourceFlag) Set(s string) error {
	if all := []sourceFlag{sourceAuto, sourceConfigMap, sourceResources}; !slices.Contains(all, sourceFlag(s)) {
		return errors.New("want auto, configmap or resources")
	}
	*f = sourceFlag(s)
	return nil
}

// A text is the content of a file.
type text struct {
	name     string
	data     []byte
	inFolder bool // the folder was named, the file was not
	made     bool // a program made it: nobody has written its lines
}

// place returns where Herald reads its configuration.
func (s source) place() config.Place {
	return config.Place{Namespace: s.api.namespace, ConfigMap: s.configMap}
}

// named reports whether anything is named.
func (s source) named() bool { return len(s.files)+len(s.kustomize) > 0 }

// texts returns the contents of the source. Its error is about files that cannot be
// read; the others are returned nevertheless.
func (s source) texts(cmd *cobra.Command) ([]text, error) {
	var all []text
	var errs []error
	for _, name := range s.files {
		found, err := readTexts(cmd, name, s.recursive)
		all, errs = append(all, found...), append(errs, err)
	}
	for _, dir := range s.kustomize {
		data, err := buildKustomization(dir)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, text{name: dir, data: data, made: true})
	}
	if s.cluster {
		found, err := readClusterTexts(cmd.Context(), s.api)
		all, errs = append(all, found...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// readClusterTexts returns the objects of the cluster that may hold its configuration.
func readClusterTexts(ctx context.Context, from *connection) ([]text, error) {
	client, err := from.client()
	if err != nil {
		return nil, err
	}
	lists, err := kube.ReadManifests(ctx, client, from.namespace)
	if err != nil {
		return nil, err
	}
	var all []text
	for _, list := range lists {
		all = append(all, text{name: clusterName, data: list, made: true})
	}
	return all, nil
}

// readTexts returns the content of a file or standard input, or the manifests of a
// folder.
func readTexts(cmd *cobra.Command, name string, recursive bool) ([]text, error) {
	if name == stdinName {
		data, err := io.ReadAll(cmd.InOrStdin())
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return []text{{name: name, data: data}}, nil
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return readFolder(name, recursive)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return []text{{name: name, data: data}}, nil
}

// readFolder returns the manifests of a folder, in the order of their names.
func readFolder(dir string, recursive bool) ([]text, error) {
	var all []text
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != dir && !recursive:
			return fs.SkipDir
		case d.IsDir() || !slices.Contains(manifestExtensions, strings.ToLower(filepath.Ext(name))):
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		all = append(all, text{name: name, data: data, inFolder: true})
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s: no file *.yaml, *.yml or *.json in it", dir)
		if !recursive {
			err = fmt.Errorf("%w; -R reads the folders in it, too", err)
		}
	}
	return all, err
}

// onStdin counts how many of files are standard input.
func onStdin(files ...string) int {
	n := 0
	for _, name := range files {
		if name == stdinName {
			n++
		}
	}
	return n
}
