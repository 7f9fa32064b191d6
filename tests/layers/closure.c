/* Links with one layer's whole library and the libraries below it: see the layer table in meson.build. */
int main(void)
{
    return 0;
}
