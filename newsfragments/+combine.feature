``--combine-files`` lets one run of a mapper see lines of several files: for many small ones.
