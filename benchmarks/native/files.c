/* The files alone: what creating them costs, at the least.
 *
 *     files ROOT LIST N_THREADS
 *
 * LIST has a line "SIZE PATH" for each file, sorted by folder. Each thread takes every n-th folder,
 * opens it once and creates its files with openat, one write, close. No bytes are fetched, nothing
 * is checked. The folders are made first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file {
    const char *name; /* below its folder */
    size_t size;
};

struct folder {
    const char *path;
    struct file *files;
    size_t n;
};

static struct folder *folders;
static size_t n_folders, biggest;
static int root, n_threads;

static void fail(const char *what, const char *name) {
    fprintf(stderr, "%s %s: %s\n", what, name, strerror(errno));
    exit(1);
}

static void make_folders(char *path) {
    for (char *slash = path; (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        if (mkdirat(root, path, 0755) && errno != EEXIST) fail("mkdir", path);
        *slash = '/';
    }
    if (mkdirat(root, path, 0755) && errno != EEXIST) fail("mkdir", path);
}

static void *work(void *argument) {
    char *bytes = malloc(biggest + 1);
    memset(bytes, 7, biggest + 1);
    for (size_t f = (size_t)argument; f < n_folders; f += n_threads) {
        int folder = openat(root, folders[f].path, O_RDONLY | O_DIRECTORY);
        if (folder < 0) fail("open", folders[f].path);
        for (size_t i = 0; i < folders[f].n; i++) {
            const struct file *file = &folders[f].files[i];
            int made = openat(folder, file->name, O_WRONLY | O_CREAT | O_EXCL, 0444);
            if (made < 0) fail("create", file->name);
            if (write(made, bytes, file->size) != (ssize_t)file->size) fail("write", file->name);
            close(made);
        }
        close(folder);
    }
    free(bytes);
    return NULL;
}

static void read_list(FILE *list) {
    char *line = NULL, *last = "";
    size_t room = 0;
    while (getline(&line, &room, list) > 0) {
        line[strcspn(line, "\n")] = 0;
        char *path = strchr(line, ' ') + 1, *slash = strrchr(path, '/');
        size_t size = strtoull(line, NULL, 10);
        const char *name = strdup(slash ? slash + 1 : path);
        if (slash) *slash = 0;
        const char *folder = slash ? path : ".";
        if (strcmp(folder, last)) {
            folders = realloc(folders, (n_folders + 1) * sizeof *folders);
            last = strdup(folder);
            folders[n_folders++] = (struct folder){last, NULL, 0};
        }
        struct folder *now = &folders[n_folders - 1];
        if ((now->n & (now->n - 1)) == 0)
            now->files = realloc(now->files, (now->n ? 2 * now->n : 1) * sizeof *now->files);
        now->files[now->n++] = (struct file){name, size};
        if (size > biggest) biggest = size;
    }
    free(line);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    FILE *list = fopen(argv[2], "r");
    if (!list) fail("open", argv[2]);
    read_list(list);
    if (mkdir(argv[1], 0755) && errno != EEXIST) fail("mkdir", argv[1]);
    root = open(argv[1], O_RDONLY | O_DIRECTORY);
    n_threads = atoi(argv[3]);
    for (size_t f = 0; f < n_folders; f++)
        if (strcmp(folders[f].path, ".")) make_folders((char *)folders[f].path);
    pthread_t threads[64];
    for (long t = 0; t < n_threads; t++) pthread_create(&threads[t], NULL, work, (void *)t);
    for (int t = 0; t < n_threads; t++) pthread_join(threads[t], NULL);
    return 0;
}
