/* A Modbus slave on libmodbus: many units over TCP, or one on a serial line.
 *
 *     modbus_slave tcp PORT            on 127.0.0.1
 *     modbus_slave rtu DEVICE BAUD PARITY UNIT
 *
 * Answers with {"ready":true} when it listens, then reads commands from stdin, one a line, and answers each with a line of
 * JSON. Between two commands it serves; a command is done as a whole between two requests.
 *
 *     set UNIT TABLE ADDRESS VALUE... [; TABLE ADDRESS VALUE...]...
 *     get UNIT TABLE ADDRESS COUNT
 *     refuse UNIT TABLE ADDRESS COUNT CODE      exception CODE for requests that touch these; 0 ends it
 *     delay UNIT MILLISECONDS                   before each answer
 *     silent UNIT 0|1                           no answer at all
 *     count UNIT                                requests, registers (or bits) asked for, and writes done so far
 *     writes UNIT                               what it did last: [address, first register, second register] of each
 *     drop                                      close every connection
 *
 * TABLE is holding, input, coil or discrete.
 */

#include <errno.h>
#include <modbus.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

enum { ADDRESSES = 65536, UNITS = 256, REFUSALS = 256, LINE = 1 << 20, WRITES = 65536 };

struct refusal {
    int table, address, count, code;
};

static struct {
    modbus_mapping_t *map;
    struct refusal refusals[REFUSALS];
    int refusal_count, delay_ms;
    bool silent;
    long requests, asked, written;
} units[UNITS];

/* Writes of registers in the order they were done; a unit's newest are here until others' have taken their place. */
static struct {
    int unit, address, first, second;
} writes[WRITES];
static long write_count;

static const char *tables[] = {"", "coil", "discrete", "holding", "input"};

static void fail(const char *what) {
    fprintf(stderr, "modbus_slave: %s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

static modbus_mapping_t *map_of(int unit) {
    if (units[unit].map == NULL)
        units[unit].map = modbus_mapping_new(ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES);
    if (units[unit].map == NULL) fail("no memory for a unit");
    return units[unit].map;
}

static int table_of(const char *word) {
    for (int table = 1; word != NULL && table <= 4; table++)
        if (strcmp(word, tables[table]) == 0) return table;
    return 0;
}

static int number_of(const char *word, int most) {
    char *end = NULL;
    long number = word == NULL ? -1 : strtol(word, &end, 10);
    return word == NULL || *end != '\0' || number < 0 || number > most ? -1 : (int)number;
}

static void store(modbus_mapping_t *map, int table, int address, int value) {
    switch (table) {
    case 1: map->tab_bits[address] = value != 0; break;
    case 2: map->tab_input_bits[address] = value != 0; break;
    case 3: map->tab_registers[address] = (uint16_t)value; break;
    default: map->tab_input_registers[address] = (uint16_t)value;
    }
}

static int stored(modbus_mapping_t *map, int table, int address) {
    switch (table) {
    case 1: return map->tab_bits[address];
    case 2: return map->tab_input_bits[address];
    case 3: return map->tab_registers[address];
    default: return map->tab_input_registers[address];
    }
}

static const char *set(int unit) {
    modbus_mapping_t *map = map_of(unit);
    for (char *word = strtok(NULL, " "); word != NULL; word = strtok(NULL, " ")) {
        int table = table_of(word), address = number_of(strtok(NULL, " "), ADDRESSES - 1);
        if (table == 0 || address < 0) return "no such place";
        while ((word = strtok(NULL, " ")) != NULL && strcmp(word, ";") != 0) {
            int value = number_of(word, 65535);
            if (value < 0 || address >= ADDRESSES) return "no such value or address";
            store(map, table, address++, value);
        }
        if (word == NULL) break;
    }
    return NULL;
}

static const char *refuse(int unit) {
    struct refusal new = {.table = table_of(strtok(NULL, " "))};
    new.address = number_of(strtok(NULL, " "), ADDRESSES - 1);
    new.count = number_of(strtok(NULL, " "), ADDRESSES);
    new.code = number_of(strtok(NULL, " "), 255);
    if (new.table == 0 || new.address < 0 || new.count < 0 || new.code < 0) return "refuse UNIT TABLE ADDRESS COUNT CODE";
    struct refusal *all = units[unit].refusals;
    for (int i = 0; i < units[unit].refusal_count; i++)
        if (all[i].table == new.table && all[i].address == new.address && all[i].count == new.count) {
            all[i].code = new.code;
            return NULL;
        }
    if (units[unit].refusal_count == REFUSALS) return "too many";
    all[units[unit].refusal_count++] = new;
    return NULL;
}

static void get(int unit) {
    int table = table_of(strtok(NULL, " ")), address = number_of(strtok(NULL, " "), ADDRESSES - 1);
    int count = number_of(strtok(NULL, " "), ADDRESSES);
    if (table == 0 || address < 0 || count < 0 || address + count > ADDRESSES) {
        printf("{\"error\":\"no such place\"}\n");
        return;
    }
    printf("{\"values\":[");
    for (int i = 0; i < count; i++) printf("%s%d", i ? "," : "", stored(map_of(unit), table, address + i));
    printf("]}\n");
}

static void tell_writes(int unit) {
    printf("{\"writes\":[");
    const char *comma = "";
    for (long i = write_count > WRITES ? write_count - WRITES : 0; i < write_count; i++) {
        if (writes[i % WRITES].unit != unit) continue;
        printf("%s[%d,%d,%d]", comma, writes[i % WRITES].address, writes[i % WRITES].first, writes[i % WRITES].second);
        comma = ",";
    }
    printf("]}\n");
}

/* False for a command that closes all connections. */
static bool obey(char *line) {
    char *word = strtok(line, " ");
    if (word != NULL && strcmp(word, "drop") == 0) {
        printf("{}\n");
        return false;
    }
    int unit = number_of(strtok(NULL, " "), UNITS - 1);
    const char *problem = unit < 0 ? "no such unit" : NULL;
    if (problem == NULL && strcmp(word, "get") == 0) {
        get(unit);
        return true;
    }
    if (problem == NULL && strcmp(word, "writes") == 0) {
        tell_writes(unit);
        return true;
    }
    if (problem == NULL && strcmp(word, "count") == 0) {
        printf("{\"requests\":%ld,\"asked\":%ld,\"written\":%ld}\n", units[unit].requests, units[unit].asked,
               units[unit].written);
        return true;
    }
    if (problem == NULL && strcmp(word, "set") == 0) problem = set(unit);
    else if (problem == NULL && strcmp(word, "refuse") == 0) problem = refuse(unit);
    else if (problem == NULL && strcmp(word, "delay") == 0) units[unit].delay_ms = number_of(strtok(NULL, " "), 60000);
    else if (problem == NULL && strcmp(word, "silent") == 0) units[unit].silent = number_of(strtok(NULL, " "), 1) == 1;
    else if (problem == NULL) problem = "no such command";
    if (problem == NULL) printf("{}\n");
    else printf("{\"error\":\"%s\"}\n", problem);
    return true;
}

static void serve(modbus_t *ctx, const uint8_t *query, int length) {
    int header = modbus_get_header_length(ctx);
    int unit = query[header - 1], function = query[header];
    int address = query[header + 1] << 8 | query[header + 2], count = query[header + 3] << 8 | query[header + 4];
    units[unit].requests++;
    if (function == 5 || function == 6) count = 1;
    units[unit].asked += count;
    if (units[unit].silent) return;
    if (units[unit].delay_ms > 0) usleep((useconds_t)units[unit].delay_ms * 1000);
    int table = function == 5 || function == 15 ? 1 : function == 6 || function == 16 ? 3 : function;
    for (int i = 0; i < units[unit].refusal_count; i++) {
        struct refusal *each = &units[unit].refusals[i];
        if (each->code && each->table == table && address < each->address + each->count && each->address < address + count) {
            modbus_reply_exception(ctx, query, (unsigned)each->code);
            return;
        }
    }
    if (function == 5 || function == 6 || function == 15 || function == 16) units[unit].written++;
    modbus_reply(ctx, query, length, map_of(unit));
    if (table == 3 && (function == 6 || function == 16) && address + count <= ADDRESSES) {
        uint16_t *has = map_of(unit)->tab_registers + address;
        writes[write_count % WRITES].unit = unit;
        writes[write_count % WRITES].address = address;
        writes[write_count % WRITES].first = has[0];
        writes[write_count++ % WRITES].second = count > 1 ? has[1] : 0;
    }
}

/* Reads what there is on stdin and obeys each whole line; exits when it is closed. */
static bool commands(void) {
    static char line[LINE];
    static size_t held = 0;
    ssize_t got = read(STDIN_FILENO, line + held, LINE - 1 - held);
    if (got <= 0) exit(0);
    held += (size_t)got;
    bool keep = true;
    char *end;
    while ((end = memchr(line, '\n', held)) != NULL) {
        *end = '\0';
        size_t used = (size_t)(end - line) + 1;
        keep = obey(line) && keep;
        held -= used;
        memmove(line, line + used, held);
    }
    fflush(stdout);
    return keep;
}

static void close_client(fd_set *all, int client) {
    close(client);
    FD_CLR(client, all);
}

int main(int argc, char **argv) {
    bool tcp = argc == 3 && strcmp(argv[1], "tcp") == 0;
    if (!tcp && !(argc == 6 && strcmp(argv[1], "rtu") == 0)) {
        fprintf(stderr, "modbus_slave tcp PORT | modbus_slave rtu DEVICE BAUD PARITY UNIT\n");
        return 2;
    }
    modbus_t *ctx = tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], atoi(argv[3]), argv[4][0], 8, 1);
    if (ctx == NULL) fail("cannot be made");
    int listener = -1, line = -1, highest;
    if (tcp) {
        if ((listener = modbus_tcp_listen(ctx, 64)) < 0) fail("cannot listen");
    } else {
        modbus_set_slave(ctx, atoi(argv[5]));
        if (modbus_connect(ctx) < 0) fail("cannot open the line");
        line = modbus_get_socket(ctx);
    }
    highest = tcp ? listener : line;
    fd_set all;
    FD_ZERO(&all);
    FD_SET(STDIN_FILENO, &all);
    FD_SET(highest, &all);
    printf("{\"ready\":true}\n");
    fflush(stdout);
    for (;;) {
        fd_set ready = all;
        if (select(highest + 1, &ready, NULL, NULL, NULL) < 0) {
            if (errno == EINTR) continue;
            fail("select");
        }
        if (FD_ISSET(STDIN_FILENO, &ready) && !commands())
            for (int fd = STDERR_FILENO + 1; fd <= highest; fd++)
                if (tcp && fd != listener && FD_ISSET(fd, &all)) {
                    close_client(&all, fd);
                    FD_CLR(fd, &ready);
                }
        for (int fd = STDERR_FILENO + 1; fd <= highest; fd++) {
            if (!FD_ISSET(fd, &ready)) continue;
            if (fd == listener) {
                int client = modbus_tcp_accept(ctx, &listener);
                if (client >= FD_SETSIZE) close(client);
                else if (client >= 0) {
                    FD_SET(client, &all);
                    if (client > highest) highest = client;
                }
                continue;
            }
            uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
            modbus_set_socket(ctx, fd);
            int length = modbus_receive(ctx, query);
            if (length > 0) serve(ctx, query, length);
            else if (length < 0 && tcp) close_client(&all, fd);
            else if (!tcp) {
                /* A silence parts frames on a serial line; libmodbus does not look for it. */
                usleep(5000);
                modbus_flush(ctx);
            }
        }
    }
}
