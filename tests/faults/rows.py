"""Every fault that HaGoop must survive, and the tests that inject it.

S is the server and its storage, N the network, W workers, X executables, D data and clients.  A test
may be in any folder below ``tests``; it counts for a row if it injects that fault.
"""

from attrs import frozen

LIARS = "nobody looks for workers that lie yet"
SANDBOX = "programs are held together, not locked in: there is no sandbox yet"


@frozen
class Row:
    """A fault.

    :param tests: ``FILE::TEST`` below ``tests``.
    :param skipped: why it is not injected, or what of it is not.
    """

    fault: str
    tests: tuple[str, ...] = ()
    skipped: str = ""


def row(fault: str, tests: str = "", skipped: str = "") -> Row:
    """A row with its tests in words; a file is named once, before its tests."""
    found: list[str] = []
    file = ""
    for word in tests.split():
        if word.endswith(":"):
            file = word.removesuffix(":")
        else:
            found.append(f"{file}.py::test_{word}")
    return Row(fault, tuple(found), skipped)


SERVER = {
    "S1": row(
        "killed at each journal write",
        "faults/test_killed_writing: killed_at_each_write killed_inside_a_commit",
    ),
    "S2": row(
        "killed at random, again and again",
        """integration/test_survives: killed_server_goes_on_where_it_was all_are_killed_at_once
        server_is_killed_again_and_again
        faults/test_server_dies: each_life_of_a_server_gets_further
        faults/test_server_moves: request_goes_on_at_a_server_started_from_a_backup""",
    ),
    "S3": row(
        "killed while it recovers, nested", "faults/test_killed_writing: killed_while_it_recovers"
    ),
    "S4": row(
        "power loss",
        "faults/test_power_loss: what_was_told_is_there forgotten_sync_of_folders_is_found",
    ),
    "S5": row(
        "torn or truncated end of the journal",
        """unit/test_journal: torn_end_is_dropped
        faults/test_damaged_journal: cut_end_is_dropped_with_a_line cut_database_is_refused_or_whole
        faults/test_refused_start: torn_end_is_dropped_and_the_server_goes_on""",
    ),
    "S6": row(
        "flipped bit in the journal",
        """unit/test_journal: changed_row_is_refused_by_number changed_value_and_epoch_are_refused
        damage_is_refused_or_does_not_matter
        faults/test_damaged_journal: flip_in_the_log_is_refused repair_that_is_told_works
        flip_in_the_database_is_refused_or_harmless missing_file_is_refused
        faults/test_refused_start: flipped_bit_stops_the_start""",
    ),
    "S7": row(
        "damaged or missing file of the spool",
        """faults/test_spool_damaged: damaged_runs_are_made_again
        damaged_runs_of_a_reduce_stop_no_start damaged_part_of_an_answer_is_made_again
        lost_file_is_made_again damaged_answer_is_told_and_not_given damaged_upload_fails_the_request
        unit/test_mending: lost_run_stops_no_start
        unit/test_checked: no_byte_of_a_damaged_upload_is_given
        unit/test_web: no_byte_of_a_part_is_sent_that_is_not_as_it_was
        unit/test_runs: no_frame_is_read_as_another""",
    ),
    "S8": row(
        "disk full",
        """integration/test_bad_input: full_disk_of_a_server
        unit/test_journal: full_disk_fails_the_group_and_nothing_after_it
        full_database_passes_when_space_returns
        unit/test_spool: full_disk_is_told_while_writing segment_survives_a_write_that_found_no_room
        faults/test_failing_disk: full_disk_passes full_disk_refuses_new_requests""",
    ),
    "S9": row(
        "write or sync fails",
        """unit/test_journal: failed_sync_breaks_the_journal_for_good
        facts_queued_behind_a_failed_sync_fail_too
        unit/test_spool: segment_that_could_not_be_synced_is_given_up
        broken_disk_is_told_while_keeping broken_disk_is_told_while_a_text_is_written
        faults/test_failing_disk: failed_disk_ends_the_server
        disk_that_fails_while_an_input_is_unpacked_ends_the_server
        nothing_is_told_after_a_failed_sync""",
    ),
    "S10": row(
        "short writes, interrupted calls",
        """unit/test_spool: short_writes_lose_nothing
        faults/test_failing_disk: interrupted_write_is_completed
        disk_that_takes_less_than_it_says_is_found_out""",
    ),
    "S11": row(
        "out of descriptors",
        """faults/test_server_limits: server_without_descriptors_serves_those_it_has
        more_clients_than_descriptors_wait_outside""",
    ),
    "S12": row(
        "memory",
        """integration/test_server_bounds: spool_has_a_bound
        faults/test_server_limits: results_are_spooled_and_not_held""",
    ),
    "S13": row(
        "clock that steps",
        """integration/test_clocks: clock_that_steps_moves_no_lease
        faults/test_clock_steps: clock_that_steps_far_moves_no_lease""",
    ),
    "S14": row(
        "server stopped, and going on",
        """integration/test_clocks: server_that_was_stopped_misses_nobody
        chaos/test_pauses: server_that_is_stopped_for_a_minute_loses_nobody""",
    ),
    "S15": row(
        "two servers on one state folder",
        """integration/test_twistd: second_server_is_refused_in_a_sentence
        unit/test_journal: state_is_held_by_one
        faults/test_server_refuses: second_server_is_told_who_has_the_state""",
    ),
    "S16": row(
        "state folder of another, read-only or newer",
        """unit/test_journal: newer_schema_is_refused state_that_cannot_be_written_is_refused
        state_of_another_user_is_refused
        faults/test_server_refuses: state_that_cannot_be_used_is_told
        state_that_cannot_be_written_is_told""",
    ),
    "S17": row(
        "SIGTERM while busy",
        """integration/test_survives: stopped_server_goes_on_when_it_starts
        stopped_in_the_middle_leaves_nothing
        faults/test_server_dies: busy_server_that_is_told_to_stop_stops_in_time""",
    ),
}

NETWORK = {
    "N1": row(
        "half-open peer",
        """faults/test_proxied: mute_link
        faults/test_namespaces: link_that_breaks_in_the_middle
        chaos/test_half_open: all_find_out_that_a_link_is_dead""",
    ),
    "N2": row(
        "loss in one direction",
        """faults/test_proxied: mute_link
        faults/test_namespaces: link_that_breaks_in_the_middle packets_that_get_lost""",
    ),
    "N3": row(
        "reset in the middle of a result",
        """faults/test_proxied: reset_in_the_middle_of_bytes reset_of_all_links
        faults/test_not_told: run_that_is_not_told worker_that_is_not_told failure_that_is_not_told
        input_that_travels_is_sent_again answer_that_breaks_off_is_resumed
        faults/test_outlive: work_goes_on_without_the_link
        faults/test_namespaces: link_that_breaks_in_the_middle""",
    ),
    "N4": row("a part of all packets lost", "faults/test_namespaces: packets_that_get_lost"),
    "N5": row("a link of 56 kbit/s", "faults/test_proxied: slow_link_loses_nobody"),
    "N6": row(
        "delay, jitter, a byte at a time, boxes run together",
        """faults/test_proxied: weather_changes_no_answer long_way_is_allowed_for
        two_seconds_on_the_way_change_no_answer""",
    ),
    "N7": row(
        "partition and heal",
        """faults/test_proxied: partition_and_heal
        faults/test_namespaces: partition_and_heal""",
    ),
    "N8": row(
        "server not there at the start, or at another address",
        """faults/test_server_away: worker_knocks_softly server_that_comes_back_elsewhere
        unit/test_worker_asking: pauses_grow_and_are_spread""",
    ),
    "N9": row("500 workers that reconnect at once", "faults/test_server_away: herd"),
    "N10": row(
        "a thousand connections that never join",
        """integration/test_door: thousand_connections_that_never_finish
        unit/test_sessions: what_has_not_joined_in_time_is_dropped""",
    ),
    "N11": row(
        "malformed boxes",
        """unit/test_hostile: hostile_boxes_change_nothing boxes_of_any_form_change_nothing
        hostile_requests_change_nothing
        chaos/test_strangers: hostile_boxes hostile_requests strangers_at_a_real_server""",
    ),
    "N12": row(
        "a box without an end",
        """faults/test_plain_strangers: endless_boxes_are_cut_off
        unit/test_hostile: endless_box_ends_at_the_cap
        unit/test_links: box_with_too_many_keys_is_dropped box_without_an_end_is_dropped""",
    ),
    "N13": row(
        "not our protocol",
        """integration/test_door: plain_words_at_the_door
        integration/test_bad_input: strangers_instead_of_a_server web_port_instead_of_commands""",
    ),
}

WORKERS = {
    "W1": row(
        "killed, segfault, exit, SIGTERM",
        """integration/test_survives: killed_worker_costs_nothing_but_time killed_worker_comes_back
        worker_that_leaves_sees_its_job_through worker_that_cannot_end_its_job_in_time_ends_it
        integration/test_unruly: dying_workers_stay_away flaky_workers_come_back_as_themselves
        chaos/test_churn: every_answer_is_right_while_workers_die
        faults/test_workers: worker_that_dies_all_the_time""",
    ),
    "W2": row(
        "stopped past its lease, then going on",
        """faults/test_workers: worker_that_wakes_up_late worker_that_wakes_up_after_its_session
        unit/test_sessions: late_commit_changes_nothing""",
    ),
    "W3": row(
        "mute: connected, and never answers",
        """faults/test_workers: mute_double_holds_nobody_up
        integration/test_unruly: workers_that_never_end_are_not_waited_for
        unit/test_sessions: silent_worker_is_dropped""",
    ),
    "W4": row(
        "results twice, late, or of what it never had",
        """faults/test_workers: commits_of_a_double
        unit/test_sessions: late_commit_changes_nothing nobody_gives_back_what_another_holds
        commit_of_bytes_that_have_not_arrived_is_refused""",
    ),
    "W5": row("lies", skipped=LIARS),
    "W6": row(
        "two with one identity",
        """integration/test_survives: machines_imaged_from_one_disk_are_told_apart
        unit/test_sessions: clone_of_a_live_worker_gets_an_identity_of_its_own
        silent_session_loses_its_identity_to_one_that_lives""",
    ),
    "W7": row(
        "full disk, no /tmp",
        """integration/test_bad_input: full_disk_of_a_worker
        faults/test_workers: worker_without_a_folder_for_temporary_files
        unit/test_delivery: disk_that_cannot_be_written_makes_the_worker_unfit""",
        "that no sandbox is found: there is none yet",
    ),
    "W8": row(
        "a hundred that die with 75 % each tenth of a second",
        "chaos/test_large_fleets: hundred_dying_workers_then_a_good_one",
    ),
    "W9": row("a laptop that sleeps for an hour", "faults/test_workers: laptop_that_sleeps_for_an_hour"),
    "W10": row(
        "an old version",
        """integration/test_door: old_worker_is_told_to_update
        integration/test_bad_input: newer_server newer_client
        unit/test_sessions: another_version_is_told_what_to_do""",
    ),
}

PROGRAMS = {
    "X1": row(
        "ignores TERM, daemonises, forks twice",
        """integration/test_processes_end: nothing_outlives_a_program_that_ends_well
        stubborn_programs_are_gone_soon_after_they_are_cancelled""",
    ),
    "X2": row(
        "multiplies, eats memory, fills the disk",
        """integration/test_processes_end: program_that_multiplies_is_stopped
        hundred_threads_are_no_crime program_that_eats_memory_is_stopped
        program_that_fills_the_disk_is_stopped""",
    ),
    "X3": row(
        "prints for ever",
        """integration/test_bad_input: program_that_prints_for_ever
        faults/test_programs: stderr_for_ever_is_no_progress_and_no_memory""",
    ),
    "X4": row(
        "reads nothing, closes its streams",
        """integration/test_bad_input: program_that_reads_nothing
        integration/test_processes_end: streams_that_nobody_wants_are_no_failure""",
    ),
    "X5": row(
        "ten thousand lines of stderr",
        "integration/test_processes_end: ten_thousand_lines_of_stderr_change_nothing",
    ),
    "X6": row(
        "fails, hangs, cannot be started",
        """integration/test_bad_input: failing_program killed_program program_that_never_ends
        program_that_is_not_executable program_for_another_machine script_without_its_interpreter
        program_fails_at_one_line
        faults/test_programs: each_failure_is_told_as_what_it_is
        poisoned_line_stops_after_so_many_workers""",
    ),
    "X7": row(
        "prints something else each time",
        """unit/test_sessions: copies_that_differ_are_told
        faults/test_programs: program_that_is_never_the_same_is_nobodys_lie""",
        "what only a quorum finds: there is none yet",
    ),
    "X8": row(
        "prints any bytes",
        """integration/test_promise_real: answer_is_what_the_pipe_gives
        faults/test_programs: bytes_of_all_kinds_pass_through""",
    ),
    "X9": row(
        "tries to get out, to its worker",
        "faults/test_programs: program_does_not_reach_its_worker",
        SANDBOX,
    ),
    "X10": row(
        "is a link, a pipe, a device, vanishes",
        """integration/test_bad_input: missing_file_to_ship
        faults/test_programs: program_that_is_a_link_is_what_it_leads_to
        program_that_is_no_file_is_refused program_is_what_it_was_when_it_was_submitted
        huge_program_costs_no_memory""",
    ),
}

DATA = {
    "D1": row(
        "empty, newlines only, no last newline",
        """unit/test_inputs: any_bytes_pass
        faults/test_data: odd_files_have_one_rule_each empty_files_cost_nothing
        faults/test_server_memory: many_small_files_cost_little""",
    ),
    "D2": row("lines of 100 MB and more", "faults/test_data: huge_line_streams"),
    "D3": row(
        "names of all kinds",
        """unit/test_found: strange_names_are_names
        faults/test_data: hostile_names_are_names answers_go_where_they_are_told_to""",
    ),
    "D4": row(
        "loops of links, unreadable, growing",
        """unit/test_found: loop_of_links_is_refused unreadable_file_is_refused
        unit/test_inputs: changed_file_is_refused removed_file_is_refused
        unit/test_checked: no_byte_is_given_after_a_change change_while_lines_are_counted_is_noticed
        file_whose_name_is_gone_is_read_to_its_end
        faults/test_data: inputs_that_cannot_be_read_are_refused_before_anything_runs""",
    ),
    "D5": row(
        "an answer larger than memory",
        """faults/test_data: large_answer_is_in_nobodys_memory
        faults/test_server_memory: slow_readers_of_an_answer_cost_little""",
    ),
    "D6": row(
        "a client that vanishes",
        """integration/test_clients: client_killed_before_it_submits_leaves_nothing
        request_outlives_a_client_killed_after_the_acknowledgement
        client_killed_while_it_follows_loses_nothing
        faults/test_data: client_killed_while_it_downloads download_goes_on_where_it_broke""",
    ),
    "D7": row(
        "the same submit twice",
        """faults/test_not_told: run_that_is_not_told wait_and_what_follows
        faults/test_data: same_submit_again_is_the_same_request
        faults/test_killed_writing: server_that_dies_between_upload_and_submit_gets_both_again
        unit/test_sessions: same_key_twice_is_one_request""",
    ),
    "D8": row(
        "packed to fill disks, damaged",
        """unit/test_unpacking: file_that_was_made_to_fill_disks_is_refused damaged_file_is_named
        integration/test_packed_inputs: damaged_file_fails_the_request_by_its_name
        faults/test_data: bombs_are_refused_before_they_go_off uploads_of_another_length_are_nothing""",
    ),
    "D9": row(
        "no place for the answer",
        """integration/test_bad_input: answer_exists answer_without_a_place
        faults/test_data: answer_that_finds_no_room_is_kept_by_the_server
        answer_that_may_not_be_written_is_refused_first""",
    ),
    "D10": row(
        "very many of everything",
        """integration/test_clients: small_request_is_not_stuck_behind_a_large_one
        faults/test_server_memory: many_requests_cost_little_and_all_get_their_share
        many_jobs_cost_little who_reads_no_answers_costs_no_memory
        connections_that_ask_for_ever_cost_no_memory small_uploads_that_nobody_uses_go_to_disk""",
    ),
}

ROWS: dict[str, Row] = {**SERVER, **NETWORK, **WORKERS, **PROGRAMS, **DATA}


def elsewhere() -> list[str]:
    """The tests of other folders, for a command line."""
    named = {f"tests/{each}" for row in ROWS.values() for each in row.tests}
    return sorted(each for each in named if not each.startswith("tests/faults/"))


if __name__ == "__main__":
    print(" ".join(elsewhere()))
