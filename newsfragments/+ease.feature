In the tail hard lines are shared by how hard they are: large fleets end much sooner.
