/** The client of a horde mesh: ask for pictures, watch them being painted, fetch them. Begin with {@link Horde}. */
package org.hordemesh;
