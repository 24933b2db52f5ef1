/* Structs that have grown since the first release: a caller with the older header gets what it
 * knows, and the defaults of what it does not. The library's own structs have not grown yet. */
#include <string.h>

#include "../dispatch/error.h"
#include "check.h"

struct first {
    size_t size;
    double a;
};

struct grown {
    size_t size;
    double a, b;
};

static const struct grown defaults = {.a = 1, .b = 2};
static const size_t least = sizeof(struct first), most = sizeof(struct grown);

static void an_older_struct_is_read_as_far_as_it_goes(void **state)
{
    (void)state;
    const struct grown theirs[] = {{least, 5, 6}, {most, 7, 8}};
    const double expected[][2] = {{5, 2}, {7, 8}};
    for (int i = 0; i < 2; i++) {
        struct grown ours;
        assert_int_equal(xent_check_struct(&theirs[i], least, most, 1, "options", NULL), XENT_OK);
        const struct grown *read = xent_read_struct(&ours, &theirs[i], &defaults, most);
        assert_true(read->a == expected[i][0] && read->b == expected[i][1]);
    }
}

static void no_struct_is_the_defaults_or_an_error(void **state)
{
    (void)state;
    struct grown ours;
    assert_int_equal(xent_check_struct(NULL, least, most, 0, "options", NULL), XENT_OK);
    assert_int_equal(xent_check_struct(NULL, least, most, 1, "options", NULL), XENT_ERROR_NULL);
    assert_ptr_equal(xent_read_struct(&ours, NULL, &defaults, most), &defaults);
}

static void other_sizes_are_refused(void **state)
{
    (void)state;
    const size_t sizes[] = {0, least - 1, most + 1, 2 * most, SIZE_MAX};
    for (int i = 0; i < 5; i++) {
        struct grown theirs[2] = {{sizes[i], 0, 0}};
        xent_error error = {0};
        assert_int_equal(xent_check_struct(theirs, least, most, 1, "options", &error), XENT_ERROR_STRUCT_SIZE);
        assert_string_equal(error.argument, "options");
        assert_int_equal(xent_init_struct(theirs, sizes[i], &defaults, least, most), XENT_ERROR_STRUCT_SIZE);
        assert_true(theirs[0].a == 0);
    }
}

static void an_older_struct_is_initialised_as_far_as_it_goes(void **state)
{
    (void)state;
    struct grown theirs = {0, 7, 7};
    assert_int_equal(xent_init_struct(&theirs, least, &defaults, least, most), XENT_OK);
    assert_true(theirs.size == least && theirs.a == 1 && theirs.b == 7);
    assert_int_equal(xent_init_struct(&theirs, most, &defaults, least, most), XENT_OK);
    assert_true(theirs.size == most && theirs.a == 1 && theirs.b == 2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_older_struct_is_read_as_far_as_it_goes),
        cmocka_unit_test(no_struct_is_the_defaults_or_an_error),
        cmocka_unit_test(other_sizes_are_refused),
        cmocka_unit_test(an_older_struct_is_initialised_as_far_as_it_goes),
    };
    return check_run("structs", tests, sizeof tests / sizeof *tests, argc, argv);
}
