/*
 * fuzz_replay: runs a fuzzer over files and folders of inputs where there is no libFuzzer.
 *
 * Every input is run as it is, then cut after each of its first bytes, then with single bytes altered in
 * an order that is the same at each run. That finds no new worlds; it keeps old bugs from coming back.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CUTS_MAX = 256, ALTERED = 256 };

static unsigned long inputs;

/* In memory of exactly this size, so that a sanitizer sees a read past the end. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size); /* libFuzzer asks for 0 and ignores it */
    free(copy);
    inputs++;
}

static void run_variants(uint8_t *data, size_t size)
{
    uint32_t random = 2463534242u;
    run(data, size);
    for (size_t cut = 0; cut < size && cut < CUTS_MAX; cut++)
        run(data, cut);
    for (int i = 0; size > 0 && i < ALTERED; i++) {
        random ^= random << 13, random ^= random >> 17, random ^= random << 5;
        uint8_t *byte = &data[random % size], before = *byte;
        *byte = (uint8_t)(random >> 24);
        run(data, size);
        *byte = before;
    }
}

static void replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        perror(path);
        exit(1);
    }
    size_t size = (size_t)status.st_size;
    uint8_t *data = malloc(size ? size : 1);
    if (data == NULL || fread(data, 1, size, file) != size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    run_variants(data, size);
    free(data);
}

static void replay_folder(const char *path, DIR *folder)
{
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        replay_file(name);
    }
    closedir(folder);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (folder != NULL)
            replay_folder(argv[i], folder);
        else
            replay_file(argv[i]);
    }
    printf("%lu inputs\n", inputs);
    return inputs > 0 ? 0 : 1;
}
