package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// kernel is one row of the matrix: a package of Debian's archive.
type kernel struct {
	name  string // for people: the version it is there for
	suite string
	// pack is a metapackage where there is one: the package of one build is
	// replaced by every upload.
	pack string
}

// matrix is every kernel that the tests run in, oldest first. The archive moves: the
// last may lead further than its name, and builds that are older than the newest
// of their suite may go.
var matrix = []kernel{
	{"5.10", "bullseye-security", "linux-image-cloud-amd64"},
	{"6.1", "bookworm-security", "linux-image-cloud-amd64"},
	{"6.12", "bookworm-security", "linux-image-6.12-cloud-amd64"},
	{"6.18", "trixie-backports", "linux-image-6.18.15+deb13-cloud-amd64"},
	{"7.3", "trixie-backports", "linux-image-cloud-amd64"},
}

// fetchLimit is for all that one kernel is downloaded with.
const fetchLimit = 10 * time.Minute

// fetch returns the folder of the kernel's unpacked package below cache. What is
// there already is taken as it is; remove it to have a newer build.
func (k kernel) fetch(ctx context.Context, cache string) (dir string, err error) {
	dir = filepath.Join(cache, k.suite+"_"+k.pack)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, fetchLimit, fmt.Errorf("no end of the download within %v", fetchLimit))
	defer cancel()
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, ".fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	packages, err := k.download(ctx, tmp)
	if err != nil {
		return "", err
	}
	root := filepath.Join(tmp, "root")
	for _, p := range packages {
		if _, err := output(ctx, nil, "dpkg-deb", "-x", p, root); err != nil {
			return "", err
		}
	}
	// Another run may have been faster.
	if err := os.Rename(root, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return dir, nil
}

// aptConfig gives apt a root of its own, so that the system's lists and packages
// are as they were.
const aptConfig = `
Dir::State::lists "%[1]s/lists";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s/cache";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "%[1]s/parts";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
`

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// download returns the files of the packages that hold the image and the modules.
// apt checks their signatures.
func (k kernel) download(ctx context.Context, tmp string) ([]string, error) {
	if _, err := os.Stat(keyring); err != nil {
		return nil, err
	}
	root := filepath.Join(tmp, "apt")
	packages := filepath.Join(tmp, "packages")
	for _, dir := range []string{packages, root + "/lists/partial", root + "/cache/archives/partial", root + "/parts"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(root, "apt.conf")
	source := fmt.Sprintf("deb [signed-by=%s] %s %s main\n", keyring, archive(ctx, k.suite), k.suite)
	for name, text := range map[string]string{
		config: fmt.Sprintf(aptConfig, root), root + "/sources.list": source, root + "/status": "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}

	env := []string{"APT_CONFIG=" + config, "LC_ALL=C"}
	if _, err := output(ctx, env, "apt-get", "update", "-qq", "--error-on=any"); err != nil {
		return nil, err
	}
	images, err := depends(ctx, env, k.pack, regexp.MustCompile(`^linux-image-\d`))
	if err != nil {
		return nil, err
	}
	image := append(images, k.pack)[0]
	// From 6.19 on the package of the image is empty, and depends on two.
	names, err := depends(ctx, env, image, regexp.MustCompile(`^linux-(binary|modules)-\d`))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = []string{image}
	}
	cmd := command(ctx, env, "apt-get", append([]string{"download", "-qq"}, names...)...)
	cmd.Dir = packages
	if _, err := outputOf(ctx, cmd); err != nil {
		return nil, err
	}
	return filepath.Glob(packages + "/*.deb")
}

// archive is the address of a suite: that of the mirror the system uses, if it
// is a Debian.
func archive(ctx context.Context, suite string) string {
	name := "/debian"
	if strings.HasSuffix(suite, "-security") {
		name = "/debian-security"
	}
	out, _ := output(ctx, nil, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
	for uri := range strings.FieldsSeq(string(out)) {
		if uri = strings.TrimRight(uri, "/"); strings.HasSuffix(uri, name) {
			return uri
		}
	}
	return "http://deb.debian.org" + name
}

// depends returns the packages that one depends on and whose names match.
func depends(ctx context.Context, env []string, pack string, names *regexp.Regexp) (found []string, err error) {
	out, err := output(ctx, env, "apt-cache", "depends", "--important", pack)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		kind, name, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if kind == "Depends" && names.MatchString(name) {
			found = append(found, name)
		}
	}
	return found, nil
}

// command is one that ends with the context or with this process.
func command(ctx context.Context, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second // for its children to let go of the pipes
	return cmd
}

// output runs a command and returns what it printed.
func output(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	return outputOf(ctx, command(ctx, env, name, args...))
}

// outputOf puts into the error what the command said.
func outputOf(ctx context.Context, cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case stderr.Len() > 0:
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return nil, fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
}
