SELECT name, NULL FROM pragma_module_list
