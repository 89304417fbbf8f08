/* An OPC UA server that does nothing but change values: the load of the benchmark, on open62541.
 *
 *   load_server PORT TAGS HZ [PUBLISHING_MIN_MS]
 *
 * TAGS variables of type Double, ns=1;s=load/unit000/v00, fifty to a unit. Each is written HZ times a second with the
 * time of the write as source time; its value counts its writes, so a reader sees what it missed. The writes of a
 * period are spread over it in steps of STEP_MS, as machines that know nothing of each other would spread them.
 *
 * It prints one JSON line when it listens. Then it reads words, one a line, and answers each with a JSON line:
 *   go      start writing          hold    stop writing          count   say how it is going
 * It ends when its stdin closes.
 */
#include <open62541/plugin/log_stdout.h>
#include <open62541/server.h>
#include <open62541/server_config_default.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TAGS_PER_UNIT = 50, STEP_MS = 10 };

typedef struct {
    UA_NodeId id;
    double writes;
} Tag;

static UA_Server *server;
static Tag *tags;
static size_t tag_count;
static double hz;
static volatile sig_atomic_t running = 1;

static bool writing;
static UA_DateTime began;    /* monotonic, in 100 ns, when "go" came */
static double due_before;    /* writes owed by earlier runs of go */
static double written;       /* writes done */
static UA_DateTime worst_late; /* the longest a step came after its time */

static void end(int sig) {
    (void)sig;
    running = 0;
}

static double cpu_seconds(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)use.ru_utime.tv_sec + (double)use.ru_stime.tv_sec +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static double owed(UA_DateTime now) {
    if(!writing)
        return due_before;
    return due_before + (double)(now - began) / UA_DATETIME_SEC * hz * (double)tag_count;
}

/* Writes what is due. Tag i is written at the phase i / tags of every period, so order and spacing never change. */
static void step(UA_Server *s, void *context) {
    (void)context;
    static UA_DateTime last;
    UA_DateTime now = UA_DateTime_nowMonotonic();
    if(!writing) {
        last = 0;
        return;
    }
    if(last && now - last - STEP_MS * UA_DATETIME_MSEC > worst_late)
        worst_late = now - last - STEP_MS * UA_DATETIME_MSEC;
    last = now;
    double due = owed(now);
    size_t at = (size_t)((unsigned long long)written % tag_count);
    UA_DataValue value;
    UA_DataValue_init(&value);
    double number;
    UA_Variant_setScalar(&value.value, &number, &UA_TYPES[UA_TYPES_DOUBLE]);
    value.hasValue = true;
    value.hasSourceTimestamp = true;
    value.sourceTimestamp = UA_DateTime_now();
    while(written + 1.0 <= due) {
        number = ++tags[at].writes;
        UA_StatusCode status = UA_Server_writeDataValue(s, tags[at].id, value);
        if(status != UA_STATUSCODE_GOOD) {
            fprintf(stderr, "load_server: a write failed: %s\n", UA_StatusCode_name(status));
            exit(1);
        }
        written += 1.0;
        at = at + 1 == tag_count ? 0 : at + 1;
    }
}

static void say_count(void) {
    UA_DateTime now = UA_DateTime_nowMonotonic();
    UA_ServerStatistics held = UA_Server_getStatistics(server);
    printf("{\"written\": %.0f, \"owed\": %.0f, \"cpu_seconds\": %.6f, \"worst_late_ms\": %.3f, "
           "\"sessions\": %zu}\n",
           written, owed(now), cpu_seconds(), (double)worst_late / UA_DATETIME_MSEC, held.ss.currentSessionCount);
    fflush(stdout);
    worst_late = 0;
}

static void obey(const char *word) {
    if(!strcmp(word, "go") && !writing) {
        writing = true;
        began = UA_DateTime_nowMonotonic();
    } else if(!strcmp(word, "hold") && writing) {
        writing = false;
        due_before = written;
    }
    say_count();
}

static void listen_to_stdin(UA_Server *s, void *context) {
    (void)s;
    (void)context;
    static char line[64];
    static size_t held;
    char byte;
    ssize_t got;
    while((got = read(STDIN_FILENO, &byte, 1)) == 1) {
        if(byte == '\n') {
            line[held] = 0;
            held = 0;
            obey(line);
        } else if(held + 1 < sizeof line) {
            line[held++] = byte;
        }
    }
    if(got == 0)
        running = 0;
}

static UA_NodeId add_folder(UA_NodeId parent, const char *path, const char *name) {
    UA_ObjectAttributes attributes = UA_ObjectAttributes_default;
    attributes.displayName = UA_LOCALIZEDTEXT("", (char *)(uintptr_t)name);
    UA_NodeId id = UA_NODEID_STRING(1, (char *)(uintptr_t)path);
    UA_Server_addObjectNode(server, id, parent, UA_NODEID_NUMERIC(0, UA_NS0ID_ORGANIZES),
                            UA_QUALIFIEDNAME(1, (char *)(uintptr_t)name), UA_NODEID_NUMERIC(0, UA_NS0ID_FOLDERTYPE),
                            attributes, NULL, NULL);
    return UA_NODEID_STRING_ALLOC(1, path);
}

static void add_tags(void) {
    UA_NodeId root = add_folder(UA_NODEID_NUMERIC(0, UA_NS0ID_OBJECTSFOLDER), "load", "load");
    UA_NodeId unit = UA_NODEID_NULL;
    char path[64], name[32];
    for(size_t i = 0; i < tag_count; i++) {
        if(i % TAGS_PER_UNIT == 0) {
            snprintf(name, sizeof name, "unit%03zu", i / TAGS_PER_UNIT);
            snprintf(path, sizeof path, "load/%s", name);
            UA_NodeId_clear(&unit);
            unit = add_folder(root, path, name);
        }
        snprintf(name, sizeof name, "v%02zu", i % TAGS_PER_UNIT);
        snprintf(path, sizeof path, "load/unit%03zu/%s", i / TAGS_PER_UNIT, name);
        tags[i].id = UA_NODEID_STRING_ALLOC(1, path);
        UA_VariableAttributes attributes = UA_VariableAttributes_default;
        double zero = 0.0;
        UA_Variant_setScalar(&attributes.value, &zero, &UA_TYPES[UA_TYPES_DOUBLE]);
        attributes.dataType = UA_TYPES[UA_TYPES_DOUBLE].typeId;
        attributes.displayName = UA_LOCALIZEDTEXT("", name);
        UA_StatusCode status = UA_Server_addVariableNode(
            server, tags[i].id, unit, UA_NODEID_NUMERIC(0, UA_NS0ID_ORGANIZES), UA_QUALIFIEDNAME(1, name),
            UA_NODEID_NUMERIC(0, UA_NS0ID_BASEDATAVARIABLETYPE), attributes, NULL, NULL);
        if(status != UA_STATUSCODE_GOOD) {
            fprintf(stderr, "load_server: cannot add %s: %s\n", path, UA_StatusCode_name(status));
            exit(1);
        }
    }
    UA_NodeId_clear(&unit);
    UA_NodeId_clear(&root);
}

int main(int argc, char **argv) {
    if(argc < 4) {
        fprintf(stderr, "usage: load_server PORT TAGS HZ [PUBLISHING_MIN_MS]\n");
        return 2;
    }
    int port = atoi(argv[1]);
    tag_count = (size_t)strtoul(argv[2], NULL, 10);
    hz = strtod(argv[3], NULL);
    double publishing_min_ms = argc > 4 ? strtod(argv[4], NULL) : 10.0;
    if(port <= 0 || tag_count == 0 || hz <= 0.0) {
        fprintf(stderr, "load_server: PORT, TAGS and HZ must be above zero\n");
        return 2;
    }
    signal(SIGTERM, end);
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group; our parent ends us by closing stdin. */
    signal(SIGPIPE, SIG_IGN);
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);

    UA_ServerConfig config;
    memset(&config, 0, sizeof config);
    config.logging = UA_Log_Stdout_new(UA_LOGLEVEL_ERROR);
    UA_ServerConfig_setMinimal(&config, (UA_UInt16)port, NULL);
    char url[64];
    snprintf(url, sizeof url, "opc.tcp://127.0.0.1:%d", port);
    UA_Array_delete(config.serverUrls, config.serverUrlsSize, &UA_TYPES[UA_TYPES_STRING]);
    config.serverUrls = UA_String_new();
    config.serverUrls[0] = UA_STRING_ALLOC(url);
    config.serverUrlsSize = 1;
    config.publishingIntervalLimits.min = publishing_min_ms;
    /* An item that asks for sampling interval 0 gets every write: nothing is sampled away. */
    config.samplingIntervalLimits.min = 0.0;
    config.queueSizeLimits.max = 1000;
    config.maxNotificationsPerPublish = 100000; /* as many as the client allows; 0 would mean none */
    server = UA_Server_newWithConfig(&config);
    if(!server)
        return 1;
    tags = calloc(tag_count, sizeof *tags);
    if(!tags)
        return 1;
    add_tags();
    UA_Server_addRepeatedCallback(server, listen_to_stdin, NULL, STEP_MS, NULL);
    UA_Server_addRepeatedCallback(server, step, NULL, STEP_MS, NULL);
    if(UA_Server_run_startup(server) != UA_STATUSCODE_GOOD) {
        fprintf(stderr, "load_server: cannot listen on port %d\n", port);
        return 1;
    }
    printf("{\"url\": \"%s\", \"tags\": %zu, \"hz\": %g, \"stack\": \"open62541 %s\"}\n", url, tag_count, hz,
           UA_OPEN62541_VERSION);
    fflush(stdout);
    while(running)
        UA_Server_run_iterate(server, true);
    UA_Server_run_shutdown(server);
    UA_Server_delete(server);
    for(size_t i = 0; i < tag_count; i++)
        UA_NodeId_clear(&tags[i].id);
    free(tags);
    return 0;
}
